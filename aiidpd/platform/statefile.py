"""State files: what outlives the process, each a JSON document whose shape a frozen dataclass declares.

A file is replaced whole and is read whole or not at all. Journals of what must be undone are files of state
too: each is on the disk before the change that it undoes, and is gone when nothing is left to undo.
"""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from aiidpd.kernel.errors import AiidpdError, describe
from aiidpd.platform.atomic import fsync_directory, write_atomic
from aiidpd.platform.codec import Mismatch, compose, decoder, parse

LIMIT: Final = 1 << 20  # bytes: a file of state is small, and one that is not is none of ours
_LONGEST_CALL: Final = 600.0  # seconds


class Versioned(Protocol):
    """A frozen dataclass whose field ``version`` is a Literal: any other version is unreadable."""

    @property
    def version(self) -> int:
        """Version of the document."""


T = TypeVar("T", bound=Versioned)


class StateUnreadable(AiidpdError):
    """There is a state file, and it can't be read or makes no sense. It was left as it is."""


class StateFile(Generic[T]):
    """File at ``path``, which holds a ``kind`` as :mod:`~aiidpd.platform.codec` writes it.

    ``remedy`` is what a person can do about a file that can't be read. Saves may come from several threads:
    the one that was requested last is what the file holds in the end.

    ``problem`` is why the last write of :meth:`save_soon` failed, empty where it did not.
    """

    def __init__(
        self,
        path: Path,
        kind: type[T],
        *,
        remedy: str = "",
        limit: int = LIMIT,
        indent: int | None = None,
        mode: int = 0o640,
    ) -> None:
        self.path = path
        self.problem = ""
        self._kind = kind
        self._remedy = remedy
        self._limit = limit
        self._indent = indent
        self._mode = mode
        self._turns = itertools.count(1)
        self._newest = 0
        self._disk = threading.Lock()
        self._lock = threading.Lock()
        self._next: Callable[[], None] | None = None
        self._writer: threading.Thread | None = None

    def load(self) -> T | None:
        """Return what the file holds, None where there is no file. Blocks.

        Raises :class:`StateUnreadable`.
        """
        try:
            with self._disk, self.path.open("rb") as file:
                data = file.read(self._limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.unreadable(error.strerror or str(error)) from error
        if len(data) > self._limit:
            raise self.unreadable(f"it is larger than {self._limit} bytes")
        try:
            return self._decode(parse(data.decode()))
        except Mismatch as error:
            raise self.unreadable(str(error)) from error
        except ValueError as error:
            raise self.unreadable(f"it is no JSON document: {error}") from error

    def load_or_set_aside(self) -> tuple[T | None, str]:
        """Return what the file holds, or None and why it can't be read. Blocks.

        One that can't be read is moved to the same name with ``.unreadable`` behind it, for a person to
        examine: the next save makes a new one.
        """
        try:
            return self.load(), ""
        except StateUnreadable as error:
            aside = self.path.with_name(f"{self.path.name}.unreadable")
            try:
                self.path.replace(aside)
            except OSError as fault:
                return None, f"{error}; it can't be set aside either: {describe(fault)}"
            return None, f"{error}; it is now {aside.name}"

    def unreadable(self, reason: str) -> StateUnreadable:
        """Return the error for a file that is of no use because of ``reason``, with the way out."""
        return StateUnreadable("use", str(self.path), reason=reason, remedy=self._remedy)

    def fits(self, value: T) -> bool:
        """Return whether a document of ``value`` is no larger than a file may be."""
        return len(self._encode(value)) <= self._limit

    def save(self, value: T | None) -> None:
        """Make the file hold ``value``, or remove it where that is None. It is on the disk on return. Blocks.

        Raises :class:`OSError`, also for a value that :meth:`load` would not read again; then the file is as
        it was.
        """
        self.saving(value)()

    def saving(self, value: T | None) -> Callable[[], None]:
        """Return a :meth:`save` for a thread to carry out.

        One that is overtaken by one that was requested later does nothing: a thread that nobody waits for
        any more must not bring back what was given up meanwhile.
        """
        turn = next(self._turns)

        def write() -> None:
            content = None if value is None else self._checked(value)
            with self._disk:
                if turn > self._newest:
                    self._write(content)
                    self._newest = turn

        return write

    def save_soon(self, value: T | None) -> None:
        """Save ``value`` in a thread, or remove the file: returns at once, and a hung disk holds up nobody.

        One write is under way and one waits: what waited is left out for ``value``.
        """
        with self._lock:
            self._next = self.saving(value)
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, name=f"write {self.path.name}")
                self._writer.start()

    def wait(self, seconds: float) -> None:
        """Wait until nothing is left to save soon, at most ``seconds``. Blocks."""
        writer = self._writer
        if writer is not None:
            writer.join(seconds)

    @cached_property
    def _decode(self) -> Callable[[object], T]:
        return decoder(self._kind)

    def _encode(self, value: T) -> bytes:
        return compose(value, indent=self._indent).encode()

    def _checked(self, value: T) -> bytes:
        """Return the content of the file, once it is known that it can be read again."""
        try:
            content = self._encode(value)
            self._decode(parse(content.decode()))
        except (ValueError, TypeError) as error:
            raise OSError(errno.EINVAL, f"it could not be read again: {error}") from error
        if len(content) > self._limit:
            raise OSError(errno.EFBIG, f"it would be larger than {self._limit} bytes")
        return content

    def _write(self, content: bytes | None) -> None:
        if content is None:
            self.path.unlink(missing_ok=True)
            fsync_directory(self.path.parent)
        else:
            write_atomic(self.path, content, mode=self._mode)

    def _run(self) -> None:
        while True:
            with self._lock:
                write, self._next = self._next, None
                if write is None:
                    self._writer = None
                    return
            try:
                write()
            except OSError as error:
                self.problem = f"cannot write {self.path}: {describe(error)}"
            else:
                self.problem = ""


def call_seconds(value: float | None) -> float | None:
    """Return ``value`` as the seconds that a call may take, None where it makes no sense as that.

    What is to be put back does not depend on it: there is a default.
    """
    return value if value is not None and 0 < value <= _LONGEST_CALL else None
