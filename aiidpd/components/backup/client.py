"""Backup process as the daemon sees it: one for each request, with its progress, its orders and its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.progress import Progress
from aiidpd.components.backup.process.protocol import Line, Orders, Request, decode_line, encode, error_of
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import AiidpdError, Unavailable
from aiidpd.platform.programs import program
from aiidpd.platform.stderr import StderrTail

PROGRAM: Final = program("aiidpd.components.backup.process")
_LONGEST: Final = 16 << 20  # bytes of a line
_GRACE: Final = 1.5  # seconds from the order to stop until the process is killed
_REAPED: Final = 1.0  # seconds that a killed process has to end
_POLL: Final = 0.25
_WHAT: Final = "the backup process"
_REPORT: Final = "this is a fault of aiidpd, or its files changed while it runs: restart it"
_GONE: Final = (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.EndOfStream, OSError)


class BackupProcess:
    """Carries out requests, one at a time, each in a process of its own.

    ``stuck`` is the pid of one that could not be killed, since it hangs in the kernel; None for none.
    """

    def __init__(self, clock: Clock, *, stall_after: float) -> None:
        self._clock = clock
        self._stall_after = stall_after
        self._process: Process | None = None

    @property
    def working(self) -> bool:
        """True while there is a process."""
        return self._process is not None

    @property
    def stuck(self) -> int | None:
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def call(
        self, request: Request, moved: Callable[[Progress], None], orders: Callable[[], Orders] = Orders
    ) -> Line:
        """Return the line with the result of ``request``; ``moved`` is called with progress now and then.

        ``orders``, called a few times a second, returns what the work shall obey. Raises what the work
        raises, and :class:`Unavailable` where the process dies, or nothing moves for ``stall_after``
        seconds. Cancelled, the work ends within two seconds.
        """
        tail = StderrTail()
        process = await self._start(tail)
        try:
            return await _Call(self._clock, process, tail, self._stall_after).follow(request, moved, orders)
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(process)
            tail.close()

    async def _start(self, tail: StderrTail) -> Process:
        try:
            with anyio.CancelScope(shield=True):  # it is quick, and half a start would be a leak
                process = await anyio.open_process(
                    PROGRAM,
                    stderr=tail.writer,
                    start_new_session=True,  # Ctrl-C in a terminal is for the daemon alone
                )
        except OSError as error:
            tail.close()
            remedy = f"see that {PROGRAM[0]} runs"
            raise Unavailable("start", _WHAT, reason=str(error), remedy=remedy) from error
        finally:
            tail.close_writer()
        self._process = process
        return process

    async def _end(self, process: Process) -> None:
        """Order the process to stop, then kill it; forget it once it is gone."""
        if process.returncode is None:
            with suppress(*_GONE), anyio.move_on_after(_GRACE):
                await cast("ByteSendStream", process.stdin).send(encode(Orders(cancel=True)))
                await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with anyio.move_on_after(_REAPED):
                await process.wait()
        if process.returncode is not None:
            await process.aclose()
            self._process = None


class _Call:
    """One request to a process, followed to its end."""

    def __init__(self, clock: Clock, process: Process, tail: StderrTail, stall_after: float) -> None:
        self._clock = clock
        self._process = process
        self._tail = tail
        self._stall_after = stall_after
        self._stdin = cast("ByteSendStream", process.stdin)
        self._stdout = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))
        self._last = Progress("starting", 0, 0, 0, 0)
        self._moved_at = clock.monotonic()
        self._failed: AiidpdError | None = None

    async def follow(
        self, request: Request, moved: Callable[[Progress], None], orders: Callable[[], Orders]
    ) -> Line:
        """Send the request, and return the line with its result; raises the error that it ended with."""
        found: Line | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, orders, group.cancel_scope)
            try:
                await self._stdin.send(encode(request))
                found = await self._result(moved)
            except _GONE:
                self._failed = await self._died()
            except (ValueError, anyio.DelimiterNotFound) as error:
                self._failed = Unavailable("follow", _WHAT, reason=str(error), remedy=_REPORT)
            group.cancel_scope.cancel()
        if found is None:
            raise self._failed or self._stalled()
        if found.failure is not None:
            raise error_of(found.failure)
        return found

    async def _result(self, moved: Callable[[Progress], None]) -> Line:
        while True:
            line = decode_line(await self._stdout.receive_until(b"\n", _LONGEST))
            self._moved_at = self._clock.monotonic()
            if line.progress is None:
                return line
            self._last = line.progress
            moved(line.progress)

    async def _watch(self, orders: Callable[[], Orders], scope: anyio.CancelScope) -> None:
        """Pass orders on, and give the work up once nothing moves any more."""
        given = Orders()
        while True:
            wanted = orders()
            if wanted.pause:
                self._moved_at = self._clock.monotonic()
            if wanted != given:
                given = wanted
                with suppress(*_GONE):
                    await self._stdin.send(encode(given))
            if self._clock.monotonic() - self._moved_at > self._stall_after:
                scope.cancel()
                return
            await self._clock.sleep(_POLL)

    def _stalled(self) -> Unavailable:
        where = f" at {shown(self._last.at)}" if self._last.at else ""
        reason = f"nothing has moved for {self._stall_after:g} s while {self._last.phase}{where}"
        remedy = "look for a dead disk or network mount (dmesg)"
        return Unavailable("continue", "the backup", reason=reason, remedy=remedy)

    async def _died(self) -> Unavailable:
        with anyio.move_on_after(_REAPED):
            await self._process.wait()
        code = self._process.returncode
        if code is None:
            how = "closed its output"
        elif code < 0:
            how = f"was ended by signal {-code}, {signal.strsignal(-code)}"
        else:
            how = f"ended with exit code {code}"
        words = self._tail.last_line()
        reason = f"its process {how} while {self._last.phase}" + (f" ({words})" if words else "")
        remedy = "see `journalctl -k` for lack of memory, then try again; nothing on the target is half done"
        return Unavailable("finish", "the backup", reason=reason, remedy=remedy)
