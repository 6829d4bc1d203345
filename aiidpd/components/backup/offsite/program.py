"""A program as a child process: its lines as they come, its end within 2 s of a cancellation."""

from __future__ import annotations

import os
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, Process

from aiidpd.components.backup.offsite.result import Ending
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.redaction import Redactor

_GENTLE: Final = (  # each replaces itself by what follows, so that the process stays the same
    ("setpriv", "--pdeathsig", "KILL"),  # whoever kills the daemon ends it too
    ("choom", "-n", "500", "--"),  # where memory is short it goes, and not the daemon
    ("nice", "-n", "19"),
    ("ionice", "-c", "3", "-t"),
)
_LONGEST_LINE: Final = 64 * 1024  # bytes; what is longer is no line that we understand
_MOST_ERRORS: Final = 40  # lines of its errors that are remembered
_LONGEST_ERROR: Final = 2000  # characters
_TERM_SECONDS: Final = 1.2
_KILL_SECONDS: Final = 0.6
_DRAIN_SECONDS: Final = 1.0
_MOVED_BYTES: Final = 16 << 20  # bytes that it must transfer to count as moving where it prints nothing
_PIPE: Final = 64 * 1024  # bytes that a pipe takes without a reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Takes the lines of a program. ``output`` returns whether a line shows that it moved on.

    ``error`` returns that of a line of the error stream, and whether it is an error to be remembered. An
    error shows no movement: a program that tries again and again would never be ended.
    """

    output: Callable[[bytes], bool] = lambda _line: True
    error: Callable[[bytes], tuple[bool, bool]] = lambda _line: (False, True)


class Program:
    """Runs ``command`` (a name or a path) with a clean environment, idle and below everybody else.

    ``package`` is what to install where it is missing. ``known`` are secrets that none of its words may
    repeat. It is ended where nothing moves for ``stall_after`` seconds, and when the run is cancelled.
    """

    def __init__(
        self,
        command: str,
        *,
        package: str,
        environment: Mapping[str, str],
        clock: Clock,
        stall_after: float,
        known: Sequence[str] = (),
    ) -> None:
        self._command = command
        self._package = package
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **environment}
        self._clock = clock
        self._stall_after = stall_after
        self._redactor = Redactor(known)
        self.pid = 0
        """Id of the process that runs now, 0 for none."""

    async def run(
        self,
        arguments: Sequence[str],
        *,
        directory: Path,
        reader: Reader | None = None,
        secret: tuple[str, str] | None = None,
        sent: bytes = b"",
    ) -> Ending:
        """Run it in ``directory`` to its end; ``sent`` is its standard input, none where it is empty.

        ``secret`` is a variable and a text: the variable names a file that holds the text and can be read
        once. Raises :class:`Unavailable` where it can't be started or does not move.
        """
        path = shutil.which(self._command, path=self._environment["PATH"])
        if path is None:
            remedy = (
                f"install it (apt-get install {self._package}), or set offsite.{self._package} to its path"
            )
            raise Unavailable("run", self._command, reason="there is no such program", remedy=remedy)
        descriptors = [] if secret is None else [_readable_once(secret[1])]
        environment = dict(self._environment)
        if secret is not None:
            environment[secret[0]] = f"/dev/fd/{descriptors[0]}"
        source = _readable_once(sent.decode()) if sent else None
        try:
            process = await anyio.open_process(
                (*self._gentle(), path, *arguments),
                stdin=DEVNULL if source is None else source,
                cwd=directory,
                env=environment,
                start_new_session=True,
                pass_fds=descriptors,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            remedy = "see that it is a program and that the folder exists"
            raise Unavailable("run", path, reason=reason, remedy=remedy) from error
        finally:
            for descriptor in (*descriptors, *([] if source is None else [source])):
                os.close(descriptor)
        self.pid = process.pid
        whole = False
        try:
            ending, whole = await self._follow(process, reader or Reader())
            return ending
        finally:
            self.pid = 0
            if not whole:
                await _end(process)

    async def _follow(self, process: Process, reader: Reader) -> tuple[Ending, bool]:
        """Return its end, and whether its output ended with it: no process that it started has it still."""
        errors: deque[str] = deque(maxlen=_MOST_ERRORS)
        moved_at = self._clock.monotonic()
        stalled = False

        def output(line: bytes) -> None:
            nonlocal moved_at
            if reader.output(line):
                moved_at = self._clock.monotonic()

        def error(line: bytes) -> None:
            nonlocal moved_at
            moved, wrong = reader.error(line)
            if moved:
                moved_at = self._clock.monotonic()
            if wrong:
                errors.append(self._redactor.text(line.decode("utf-8", "replace"))[:_LONGEST_ERROR])

        async with anyio.create_task_group() as group:

            async def watch() -> None:
                nonlocal stalled, moved_at
                seen = _transferred(process.pid)
                while self._clock.monotonic() - moved_at <= self._stall_after:
                    await self._clock.sleep(min(1.0, self._stall_after))
                    now = _transferred(process.pid)
                    if now - seen >= _MOVED_BYTES:  # some print nothing for hours
                        seen, moved_at = now, self._clock.monotonic()
                stalled = True
                group.cancel_scope.cancel()

            group.start_soon(watch)
            async with anyio.create_task_group() as readers:
                readers.start_soon(_lines, process.stdout, output)
                readers.start_soon(_lines, process.stderr, error)
                await process.wait()
                # A process that it left behind may hold the pipes open.
                readers.cancel_scope.deadline = anyio.current_time() + _DRAIN_SECONDS
            group.cancel_scope.cancel()
        if stalled or process.returncode is None:
            reason = f"nothing has moved for {self._stall_after:g} s, and it was ended"
            remedy = "see that the network and the repository's server work; offsite.stall_after is the bound"
            raise Unavailable("wait for", self._command, reason=reason, remedy=remedy)
        return Ending(process.returncode, tuple(errors)), not readers.cancel_scope.cancelled_caught

    def _gentle(self) -> tuple[str, ...]:
        path = self._environment["PATH"]
        return tuple(word for words in _GENTLE if shutil.which(words[0], path=path) for word in words)


async def _lines(stream: ByteReceiveStream | None, take: Callable[[bytes], None]) -> None:
    """Give each line of ``stream`` to ``take``; one that is too long is left out."""
    if stream is None:
        return
    rest = bytearray()
    skipping = False
    async for piece in stream:
        rest += piece
        *lines, last = rest.split(b"\n")
        for line in lines:
            if not skipping and len(line) <= _LONGEST_LINE:
                take(bytes(line.removesuffix(b"\r")))
            skipping = False
        rest = bytearray(last)
        if len(rest) > _LONGEST_LINE:
            rest.clear()
            skipping = True
    if rest and not skipping:
        take(bytes(rest))


async def _end(process: Process) -> None:
    """End ``process`` and those that it started: TERM, then KILL. One that can't be killed is left alone."""
    with anyio.CancelScope(shield=True):
        _signal(process, signal.SIGTERM)
        with anyio.move_on_after(_TERM_SECONDS):
            await process.wait()
        _signal(process, signal.SIGKILL)
        with anyio.move_on_after(_KILL_SECONDS):
            await process.wait()
            for stream in (process.stdout, process.stderr):  # to its end: else the pipe stays open
                if stream is not None:
                    await _lines(stream, _nothing)


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _nothing(_line: bytes) -> None:
    """Leave the line out."""


def _transferred(pid: int) -> int:
    """Return how many bytes the process ``pid`` has read and written, sockets and pipes included."""
    try:
        fields = Path("/proc", str(pid), "io").read_bytes().split()
    except OSError:
        return 0
    known = dict(zip(fields[::2], fields[1::2], strict=False))
    return sum(int(known.get(name, b"0")) for name in (b"rchar:", b"wchar:"))


def _readable_once(text: str) -> int:
    """Return a descriptor from which ``text`` can be read, once."""
    data = text.encode()
    if len(data) > _PIPE:
        raise Unavailable("pass", "a secret", reason=f"it is longer than {_PIPE} bytes", remedy="shorten it")
    readable, writable = os.pipe()
    try:
        os.write(writable, data)
    finally:
        os.close(writable)
    return readable
