"""NVML client: the real GPU library. NVML runs in a process of its own, which may hang or crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

import anyio

from aiidpd.components.thermal.commands import Command
from aiidpd.components.thermal.driver.process import DMESG, NvmlProcess, OpenProcess, ProcessFailed
from aiidpd.components.thermal.driver.protocol import Malformed, decode, decode_applied
from aiidpd.components.thermal.faults import DIED, GpuFault
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.xid import XidLedger
from aiidpd.kernel.errors import Unavailable

_T = TypeVar("_T")


class NvmlLibrary:
    """Reads and sets GPUs through an NVML process, of which there is never more than one.

    A call that takes longer than ``call_timeout`` seconds gets the process killed; the first call of
    a process, in which the driver may initialise every GPU, has ``start_timeout``. After any error
    the next call starts a fresh process, which also loads the library anew; a process that continues
    while a GPU has faults is replaced after ``renew_after``, since a GPU that was reset shows only then.
    A killed process is waited for at most ``grace`` seconds, since one that is stuck in the driver
    can't even be killed. ``env`` is added to the daemon's own environment. Xid events are counted in
    ``ledger``. ``pcie_throughput`` reads that too, which takes 40 ms a GPU and second.
    """

    simulated: Final = False

    def __init__(
        self,
        *,
        call_timeout: float = 0.9,
        start_timeout: float = 20.0,
        renew_after: float = 20.0,
        grace: float = 1.0,
        pcie_throughput: bool = False,
        ledger: XidLedger | None = None,
        env: Mapping[str, str] | None = None,
        open_process: OpenProcess = anyio.open_process,
    ) -> None:
        self._call_timeout = call_timeout
        self._start_timeout = start_timeout
        self._renew_after = renew_after
        self._grace = grace
        self._options = ["--pcie-throughput"] if pcie_throughput else []
        self._ledger = ledger or XidLedger()
        self._env = env or {}
        self._open_process = open_process
        self._process: NvmlProcess | None = None
        self._stuck: NvmlProcess | None = None
        self._one_at_a_time = anyio.Lock()

    @property
    def holding(self) -> bool:
        return self._process is not None or self._stuck is not None

    async def read(self, *, fast: bool = False) -> GpuSnapshot:
        request = {"call": "read", "fast": fast}
        async with self._one_at_a_time:
            try:
                snapshot = await self._request(request, lambda line, own: decode(line, own, self._ledger))
            except ProcessFailed as error:
                raise Unavailable("read", "GPUs", reason=error.reason, remedy=error.remedy) from None
            process = self._process
            if snapshot.faults and process and anyio.current_time() - process.started > self._renew_after:
                await self._end(process)
            return snapshot

    async def apply(self, command: Command) -> GpuFault | None:
        name = type(command).__name__
        request = {"call": "apply", "command": name, **asdict(command)}
        async with self._one_at_a_time:
            try:
                return await self._request(request, decode_applied)
            except ProcessFailed as error:
                return GpuFault(None, name, None, error.name)
            except Unavailable:  # not even started: the next reading has the reason
                return GpuFault(None, name, None, DIED)

    async def aclose(self) -> None:
        for process in (self._process, self._stuck):
            if process is not None:
                await self._end(process)

    async def _request(self, request: Mapping[str, Any], parse: Callable[[bytes, int], _T]) -> _T:
        process = self._process or await self._start()
        try:
            identity, line = await process.request(
                request, self._call_timeout if process.requests else self._start_timeout
            )
            return parse(line, identity)
        except Malformed as error:
            await self._end(process)
            raise ProcessFailed.malformed(error) from error
        except BaseException:  # whatever it was, and a cancellation too: an answer may still be on its way
            await self._end(process)
            raise

    async def _start(self) -> NvmlProcess:
        if self._stuck is not None:
            await self._end(self._stuck)
        if self._stuck is not None:
            raise Unavailable(
                "read",
                "GPUs",
                reason=f"process {self._stuck.pid} hangs in the NVIDIA driver and can't be killed",
                remedy=f"{DMESG}; a reboot may be the only cure",
            )
        self._process = await NvmlProcess.start(
            *self._options, env=self._env, grace=self._grace, open_process=self._open_process
        )
        return self._process

    async def _end(self, process: NvmlProcess) -> None:
        """End ``process``; where it does not end in time it counts as stuck."""
        self._process, self._stuck = None, process
        if await process.end():
            self._stuck = None
