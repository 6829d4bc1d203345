"""NVML process as the daemon sees it: its start, a request and its response, its end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Self, TypeAlias, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from aiidpd.components.thermal.faults import DIED, NO_ANSWER
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.programs import program
from aiidpd.platform.stderr import StderrTail

PROGRAM = program("aiidpd.components.thermal.driver.nvml")
ANSWER_LIMIT = 1 << 20
DMESG = "look for NVRM and Xid lines in `dmesg`"

OpenProcess: TypeAlias = Callable[..., Awaitable[Process]]

_GONE = (anyio.IncompleteRead, anyio.BrokenResourceError, OSError)
_REPORT = "this is a fault of aiidpd, or its files changed while it runs: restart it"


class ProcessFailed(Exception):
    """A request without a usable response; the process must be ended. ``name`` is that of a ``GpuFault``."""

    def __init__(self, name: str, reason: str, remedy: str) -> None:
        self.name = name
        self.reason = reason
        self.remedy = remedy
        super().__init__(reason)

    @classmethod
    def malformed(cls, what: object) -> Self:
        """Return the failure of a process that sent no answer, for the reason ``what``."""
        return cls(DIED, f"the NVML process sent what is no answer ({what})", _REPORT)


class NvmlProcess:
    """A running NVML process. Its owner must end it with :meth:`end`."""

    def __init__(self, process: Process, stderr: StderrTail, grace: float) -> None:
        self._process = process
        self._stderr = stderr
        self._grace = grace
        self._stdin = cast("ByteSendStream", process.stdin)
        self._stdout = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))
        self.requests = 0
        self.started = anyio.current_time()

    @classmethod
    async def start(
        cls, *options: str, env: Mapping[str, str], grace: float, open_process: OpenProcess
    ) -> Self:
        """Start a process with ``options``; raises :class:`~aiidpd.kernel.errors.Unavailable`."""
        stderr = StderrTail()
        try:
            with anyio.CancelScope(shield=True):  # it is quick, and half a start would be a leak
                process = await open_process(
                    (*PROGRAM, *options),
                    stderr=stderr.writer,
                    env={**os.environ, **env},
                    start_new_session=True,  # Ctrl-C in a terminal is for the daemon alone
                )
        except OSError as error:
            stderr.close()
            raise Unavailable(
                "start", "the NVML process", reason=str(error), remedy=f"see that {PROGRAM[0]} runs"
            ) from error
        finally:
            stderr.close_writer()
        return cls(process, stderr, grace)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def request(self, request: Mapping[str, Any], within: float) -> tuple[int, bytes]:
        """Send ``request``; return its ``id`` and the line that answers it ``within`` seconds.

        Raises:
            ProcessFailed: there is no such line.
        """
        self.requests += 1
        line = json.dumps({"id": self.requests, **request}).encode() + b"\n"
        self._stderr.drain()
        try:
            with anyio.fail_after(within):
                await self._stdin.send(line)
                return self.requests, await self._stdout.receive_until(b"\n", ANSWER_LIMIT)
        except TimeoutError:
            failed = ProcessFailed(NO_ANSWER, f"NVML did not answer within {within:g} s", DMESG)
        except _GONE:
            failed = ProcessFailed(DIED, await self._ending(), f"{DMESG}; see that `nvidia-smi` works")
        except anyio.DelimiterNotFound:
            failed = ProcessFailed(DIED, f"the NVML process sent more than {ANSWER_LIMIT} bytes", _REPORT)
        raise failed

    async def end(self) -> bool:
        """Kill the process and reap it; return False where it is stuck in the driver and lives on."""
        with suppress(ProcessLookupError):
            self._process.kill()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(self._grace):
                await self._process.wait()
            if self._process.returncode is None:
                return False
            await self._process.aclose()
            self._stderr.close()
        return True

    async def _ending(self) -> str:
        """Return how a process that closed its pipes ended, in words."""
        with anyio.move_on_after(self._grace):
            await self._process.wait()
        code = self._process.returncode
        if code is None:
            how = "closed its pipes"
        elif code < 0:
            how = f"was ended by signal {-code}, {signal.strsignal(-code)}"
        else:
            how = f"ended with exit code {code}"
        last = self._stderr.last_line()
        return f"the NVML process {how}" + (f" ({last})" if last else "")
