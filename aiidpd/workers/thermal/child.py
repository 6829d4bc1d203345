"""The real GPU library: NVML, in a child process that may hang or crash without harm."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from aiidpd.kernel.errors import Unavailable
from aiidpd.workers.thermal.answer import Malformed, decode
from aiidpd.workers.thermal.gpu import GpuSnapshot
from aiidpd.workers.thermal.stderr import StderrTail

# Started by path and with -P: the child imports nothing of aiidpd, and no sibling file shadows a module.
PROGRAM = (sys.executable, "-P", str(Path(__file__).with_name("nvml.py")))
ANSWER_LIMIT = 1 << 20
_GONE = (anyio.IncompleteRead, anyio.BrokenResourceError, OSError)
_DMESG = "look for NVRM and Xid lines in `dmesg`"
_REPORT = "this is a fault of aiidpd, or its files changed while it runs: restart it"


@dataclass(slots=True)
class _Child:
    process: Process
    requests: ByteSendStream
    answers: BufferedByteReceiveStream
    stderr: StderrTail
    started: float = field(default_factory=anyio.current_time)
    asked: int = 0


class NvmlLibrary:
    """Reads GPUs through a child process, of which there is never more than one.

    A call that takes longer than ``call_timeout`` seconds gets the child killed; the first call of
    a child, in which the driver may initialise every GPU, has ``start_timeout``. After any error
    the next reading starts a fresh child, which also loads the library anew; a child that goes on
    while a GPU has faults is replaced after ``renew_after``, since a GPU that was reset shows only then.
    A killed child is waited for at most ``grace`` seconds, since one that is stuck in the driver
    can't even be killed. ``env`` is added to the daemon's own environment.
    """

    simulated: Final = False

    def __init__(
        self,
        *,
        call_timeout: float = 2.0,
        start_timeout: float = 20.0,
        renew_after: float = 60.0,
        grace: float = 1.0,
        env: Mapping[str, str] | None = None,
        open_process: Callable[..., Awaitable[Process]] = anyio.open_process,
    ) -> None:
        self._call_timeout = call_timeout
        self._start_timeout = start_timeout
        self._renew_after = renew_after
        self._grace = grace
        self._env = env or {}
        self._open_process = open_process
        self._child: _Child | None = None
        self._stuck: _Child | None = None

    async def read(self) -> GpuSnapshot:
        child = self._child or await self._start()
        try:
            snapshot = await self._ask(child)
        except BaseException:  # whatever it was, and a cancellation too: an answer may still be on its way
            await self._end(child)
            raise
        if snapshot.faults and anyio.current_time() - child.started > self._renew_after:
            await self._end(child)
        return snapshot

    async def aclose(self) -> None:
        if self._child is not None:
            await self._end(self._child)

    async def _start(self) -> _Child:
        if self._stuck is not None:
            await self._end(self._stuck)
        if self._stuck is not None:
            raise Unavailable(
                "read",
                "GPUs",
                reason=f"process {self._stuck.process.pid} hangs in the NVIDIA driver and can't be killed",
                remedy=f"{_DMESG}; a reboot may be the only cure",
            )
        stderr = StderrTail()
        try:
            with anyio.CancelScope(shield=True):  # it is quick, and half a start would be a leak
                process = await self._open_process(
                    PROGRAM,
                    stderr=stderr.writer,
                    env={**os.environ, **self._env},
                    start_new_session=True,  # Ctrl-C in a terminal is for the daemon alone
                )
        except OSError as error:
            stderr.close()
            raise Unavailable(
                "start", "the NVML process", reason=str(error), remedy=f"see that {PROGRAM[0]} runs"
            ) from error
        finally:
            stderr.close_writer()
        requests = cast("ByteSendStream", process.stdin)
        answers = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))
        self._child = _Child(process, requests, answers, stderr)
        return self._child

    async def _ask(self, child: _Child) -> GpuSnapshot:
        bound = self._call_timeout if child.asked else self._start_timeout
        child.asked += 1
        request = json.dumps({"id": child.asked, "call": "read"}).encode() + b"\n"
        child.stderr.drain()
        try:
            with anyio.fail_after(bound):
                await child.requests.send(request)
                line = await child.answers.receive_until(b"\n", ANSWER_LIMIT)
            return decode(line, child.asked)
        except TimeoutError:
            reason, remedy = f"NVML did not answer within {bound:g} s", _DMESG
        except _GONE:
            reason, remedy = await self._obituary(child), f"{_DMESG}; see that `nvidia-smi` works"
        except anyio.DelimiterNotFound:
            reason, remedy = f"the NVML process sent more than {ANSWER_LIMIT} bytes", _REPORT
        except Malformed as error:
            reason, remedy = f"the NVML process sent what is no answer ({error})", _REPORT
        raise Unavailable("read", "GPUs", reason=reason, remedy=remedy)

    async def _obituary(self, child: _Child) -> str:
        """Return how a child that closed its pipes ended."""
        with anyio.move_on_after(self._grace):
            await child.process.wait()
        code = child.process.returncode
        if code is None:
            how = "closed its pipes"
        elif code < 0:
            how = f"was ended by signal {-code}, {signal.strsignal(-code)}"
        else:
            how = f"ended with exit code {code}"
        last = child.stderr.last_line()
        return f"the NVML process {how}" + (f" ({last})" if last else "")

    async def _end(self, child: _Child) -> None:
        """Kill ``child`` and reap it; remember it as stuck where that does not come about in time."""
        self._child, self._stuck = None, child
        with suppress(ProcessLookupError):
            child.process.kill()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(self._grace):
                await child.process.wait()
            if child.process.returncode is not None:
                await child.process.aclose()
                child.stderr.close()
                self._stuck = None
