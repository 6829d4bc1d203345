"""Starts measurements in a process of their own: a plan as a JSON line in, a JSON line for each step out.

The process ends when its input does: whoever started it is gone then, and a load that nobody waits for only
disturbs. A line ``stop`` asks it to end by itself, with what it has.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiidpd.platform.programs import program

STOP: Final = "stop"
"""Line that asks the process to end with what it has."""


class Child:
    """Process that measures, for the one that started it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what it writes, until it ends."""
        for text in self._process.stdout or ():
            yield json.loads(text)

    def stop(self) -> None:
        """Ask it to end with what it has."""
        self._send(STOP)

    def kill(self) -> None:
        """End it at once, with nothing."""
        self._process.kill()

    def _send(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # its end says why
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()

    @property
    def ended(self) -> str:
        """Return how it ended, where it did so without a result."""
        return f"the process that measures ended with code {self._process.wait()}"


@contextmanager
def child(module: str, plan: Mapping[str, Any]) -> Iterator[Child]:
    """Start ``module`` with ``plan``, and end it with the block.

    It is no part of the terminal's group: an interruption is for this process, which asks it to stop.
    """
    with subprocess.Popen(  # noqa: S603 -- this interpreter, and a module of ours
        program(module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            found = Child(process)
            found._send(json.dumps(plan))  # noqa: SLF001 -- its maker
            yield found
        finally:
            process.kill()
