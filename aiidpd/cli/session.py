"""What a command works with: the client, the way out for data, and the way out for words."""

from __future__ import annotations

import json
from collections.abc import Iterable

from aiidpd.api.client import ControlClient
from aiidpd.cli.text import Paint, plain

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any, TextIO

DONE, FAILED, USAGE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


class Session:
    """``out`` takes data, ``err`` words. ``json`` asks for the API's own documents instead of text."""

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

    def say(self, words: object) -> None:
        """Write a line for the person."""
        self.err.write(f"{plain(words)}\n")
        self.err.flush()
