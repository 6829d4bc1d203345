"""Error of a compose file (pure)."""

from __future__ import annotations


class ComposeError(ValueError):
    """A file that can't be read as compose reads it: what is wrong, and where.

    ``line`` counts from 1.
    """

    def __init__(self, reason: str, *, file: str = "", line: int | None = None) -> None:
        self.reason = reason
        self.file = file
        self.line = line
        super().__init__(str(self))

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.reason}" if place else self.reason

    def within(self, file: str) -> ComposeError:
        """Return the error with the ``file`` that it is about, where it has none."""
        return ComposeError(self.reason, file=self.file or file, line=self.line)
