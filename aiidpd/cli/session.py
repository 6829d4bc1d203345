"""Session of a command: the client, the way out for data, and the way out for words."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

from aiidpd.api.client import ControlClient
from aiidpd.cli.text import Paint, plain

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any, TextIO

DONE, FAILED, USAGE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


_COLUMNS = 80  # where there is no terminal


def columns() -> int:
    """Return the width of the terminal, as ``shutil.get_terminal_size`` does: that takes longer to load."""
    try:
        found = int(os.environ.get("COLUMNS", "0"))
    except ValueError:
        found = 0
    if found <= 0:
        try:
            found = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
        except (AttributeError, ValueError, OSError):
            found = 0
    return found or _COLUMNS


def draws(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal that can colour text and draw a line again."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint_for(stream: TextIO) -> Paint:
    """Return how text is shown on ``stream``: plain and at full length where it is no terminal."""
    colour = draws(stream) and not os.environ.get("NO_COLOR")  # https://no-color.org
    return Paint(colour, columns() if stream.isatty() else 0)


class Session:
    """``out`` takes data, ``err`` words. ``json`` selects the API's own documents instead of text."""

    def __init__(self, client: ControlClient, json: bool, out: TextIO, err: TextIO, paint: Paint) -> None:
        self.client = client
        self.json = json
        self.out = out
        self.err = err
        self.paint = paint

    def data(self, lines: str | Iterable[str]) -> None:
        """Write ``lines`` of data, at once."""
        for line in [lines] if isinstance(lines, str) else lines:
            self.out.write(f"{line}\n")
        self.out.flush()

    def document(self, document: Any) -> None:
        """Write a document of the API as one line of JSON, at once."""
        self.data(json.dumps(document))

    def report(self, words: object) -> None:
        """Write a line for the person."""
        self.err.write(f"{plain(words)}\n")
        self.err.flush()


def give_up(stream: TextIO) -> None:
    """Lead ``stream`` nowhere: what is still buffered must not fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
