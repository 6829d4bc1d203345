"""Backup process as the daemon sees it: one for each request, with its progress, its orders and its end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from aiidpd.components.backup.process.control import Progress
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.protocol import (
    Line,
    Orders,
    Request,
    decode_line,
    encode,
    error_of,
)
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.stderr import StderrTail

# With -P no file in the daemon's working folder shadows a module; -S: it needs no installed package.
PROGRAM: Final = (sys.executable, "-P", "-m", "aiidpd.components.backup.process")
_LONGEST: Final = 16 << 20  # bytes of a line
_GRACE: Final = 1.5  # seconds from the order to stop until the process is killed
_REAPED: Final = 1.0  # seconds that a killed process has to end
_POLL: Final = 0.25
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
        self._orders = Orders()

    @property
    def stuck(self) -> int | None:
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def call(self, request: Request, moved: Callable[[Progress], None]) -> Line:
        """Return the line with the result of ``request``; ``moved`` is called with progress now and then.

        Raises what the work raises, and :class:`Unavailable` where the process dies, or nothing moves for
        ``stall_after`` seconds. Cancelled, the work ends within two seconds.
        """
        tail = StderrTail()
        process = await self._start(tail)
        try:
            return await self._follow(process, request, moved, tail)
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(process)
            tail.close()

    def order(self, orders: Orders) -> None:
        """Give orders to the process that works now; ``pause`` lasts until other orders."""
        self._orders = orders

    async def _start(self, tail: StderrTail) -> Process:
        try:
            with anyio.CancelScope(shield=True):  # it is quick, and half a start would be a leak
                self._process = await anyio.open_process(
                    PROGRAM,
                    stderr=tail.writer,
                    start_new_session=True,  # Ctrl-C in a terminal is for the daemon alone
                )
        except OSError as error:
            tail.close()
            remedy = f"see that {PROGRAM[0]} runs"
            raise Unavailable("start", "the backup process", reason=str(error), remedy=remedy) from error
        finally:
            tail.close_writer()
        return self._process

    async def _follow(
        self, process: Process, request: Request, moved: Callable[[Progress], None], tail: StderrTail
    ) -> Line:
        stdin = cast("ByteSendStream", process.stdin)
        stdout = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))
        last = Progress("starting", 0, 0, 0, 0)
        heard = self._clock.monotonic()
        found: Line | None = None
        failed: Unavailable | None = None
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                nonlocal failed
                given = Orders()
                while True:
                    if self._orders != given:
                        given = self._orders
                        with suppress(*_GONE):
                            await stdin.send(encode(given))
                    if not given.pause and self._clock.monotonic() - heard > self._stall_after:
                        failed = _stalled(last, self._stall_after)
                        group.cancel_scope.cancel()
                    await self._clock.sleep(_POLL)

            try:
                await stdin.send(encode(request))
                group.start_soon(watch)
                while found is None:
                    line = decode_line(await stdout.receive_until(b"\n", _LONGEST))
                    heard = self._clock.monotonic()
                    if line.progress is not None:
                        last = line.progress
                        moved(last)
                    else:
                        found = line
            except _GONE:
                failed = await _died(process, last, tail)
            except (ValueError, anyio.DelimiterNotFound) as error:
                failed = Unavailable("follow", "the backup process", reason=str(error), remedy=_REPORT)
            group.cancel_scope.cancel()
        if failed is not None:
            raise failed
        if found is None:
            raise Unavailable("follow", "the backup process", reason="it said nothing", remedy=_REPORT)
        if found.failure is not None:
            raise error_of(found.failure)
        return found

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
        self._orders = Orders()


def _stalled(last: Progress, seconds: float) -> Unavailable:
    where = f" at {shown(last.at)}" if last.at else ""
    reason = f"nothing has moved for {seconds:g} s while {last.phase}{where}"
    remedy = "look for a dead disk or network mount (dmesg)"
    return Unavailable("continue", "the backup", reason=reason, remedy=remedy)


async def _died(process: Process, last: Progress, tail: StderrTail) -> Unavailable:
    with anyio.move_on_after(_REAPED):
        await process.wait()
    code = process.returncode
    if code is None:
        how = "closed its output"
    elif code < 0:
        how = f"was ended by signal {-code}, {signal.strsignal(-code)}"
    else:
        how = f"ended with exit code {code}"
    words = tail.last_line()
    reason = f"its process {how} while {last.phase}" + (f" ({words})" if words else "")
    remedy = "see `journalctl -k` for lack of memory, then try again; nothing on the target is half done"
    return Unavailable("finish", "the backup", reason=reason, remedy=remedy)
