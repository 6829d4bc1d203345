"""Live state on the terminal, drawn from the control API as any other client sees it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any, Self, TextIO

from aiidpd.api.client import ControlClient, ControlError
from aiidpd.cli.session import draws, paint_for
from aiidpd.cli.text import Paint, cut
from aiidpd.daemon.cli_text import render_overview
from aiidpd.history.cli import event_line

_HOME_AND_CLEAR = "\x1b[H\x1b[J"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_EVENTS = 8
_ON_TERMINAL = 1.0  # seconds between two drawings
_ELSEWHERE = 5.0  # a pipe or a file gets block after block, so fewer of them


class Screen:
    """Draws on ``out`` from a thread of its own while the block runs; a context manager.

    On a terminal the state stays in its place; elsewhere one block follows another. A reader that
    goes away ends the drawing, never the daemon. ``note`` is the last line.
    """

    def __init__(self, socket: Path, out: TextIO, note: str) -> None:
        self._socket = socket
        self._note = note
        self._out = out
        self._live = draws(out)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-screen", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        pause = _ON_TERMINAL if self._live else _ELSEWHERE
        try:
            self._write(_HIDE_CURSOR if self._live else "")
            with ControlClient(str(self._socket), timeout=5.0) as client:
                # The first try comes soon: a start takes well under a second.
                while not self._over.wait(min(pause, 1.0) if not self._drawn(client) else pause):
                    pass
        except OSError:
            return
        finally:
            if self._live:
                self._write(_SHOW_CURSOR)

    def _drawn(self, client: ControlClient) -> bool:
        """Draw the state once; return False where the daemon does not answer (yet, or any more)."""
        try:
            text = self._state(client)
        except ControlError:
            return False
        self._write(f"{_HOME_AND_CLEAR}{text}\n" if self._live else f"{text}\n\n")
        return True

    def _state(self, client: ControlClient) -> str:
        columns, rows = shutil.get_terminal_size()
        documents: list[dict[str, Any]] = [
            client.get(f"/v1/{path}")
            for path in ("status", "gpus", "containers", "backup/snapshots", "bench/results")
        ]
        paint = paint_for(self._out) if self._live else Paint()
        status, gpus, containers, backup, bench = documents
        text = render_overview(status, gpus, containers, backup, bench, paint=paint, fit=self._live)
        if not self._live:
            return text
        events = client.get("/v1/events", limit=_EVENTS)["events"]
        lines = [cut(event_line(event, paint), columns) for event in events]
        whole = [*text.splitlines(), "", *lines, ""]
        last = [cut(self._note, columns), "Ctrl-C ends it; the log is in aiidpd.log"]
        return "\n".join([*whole[: max(0, rows - 1 - len(last))], *last])

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
