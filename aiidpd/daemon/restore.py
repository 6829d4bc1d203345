"""The command ``aiidpd restore-gpus``: puts GPUs back without the daemon, for whatever ended it.

And it lets the containers go on that were paused for a GPU's sake. systemd runs it after each end of the
service (ExecStopPost=): after a clean one there is nothing to do, and that is found without touching the
driver or the Docker Engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import anyio

from aiidpd.components.containers.pause.journal import NAME as PAUSES
from aiidpd.components.containers.pause.journal import JournalUnusable as PausesUnusable
from aiidpd.components.containers.pause.journal import PauseJournal
from aiidpd.components.containers.pause.restore import put_back
from aiidpd.components.thermal.commands import ResetClocks, ResetPowerLimit
from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.governor.journal import NAME, JournalUnusable, RestoreJournal
from aiidpd.components.thermal.governor.restore import default_outcome, restore
from aiidpd.components.thermal.gpu import GpuLibrary
from aiidpd.config.load import load
from aiidpd.config.model import Settings
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.lock import StateLock

DONE: Final = 0
FAILED: Final = 1
_START_WITHIN = 8.0  # seconds: systemd gives a stop ten
_ENGINE_WITHIN = 6.0


def restore_gpus(config: Path | None, environ: Mapping[str, str], *, to_default: bool = False) -> int:
    """Restore what the leases name; return the exit code: 0 nothing is left, 1 something is.

    GPUs get their limits and clocks back, and containers that were paused go on, side by side: what holds up
    one does not hold up the other. With ``to_default`` every GPU gets its default power limit and unlocked
    clocks, whatever the lease says.

    Raises :class:`~aiidpd.kernel.errors.Misconfigured` where the configuration can't be used or a daemon
    runs on it: that one restores by itself.
    """
    settings = load(config, environ).settings
    state = settings.daemon.state_directory
    gpus, pauses = RestoreJournal(state / NAME), PauseJournal(state / PAUSES)
    codes: list[int] = []

    async def restore_gpus_of_lease() -> None:
        codes.append(await gpus_back(gpus, settings, _say, to_default=to_default))

    async def containers_back() -> None:
        codes.append(await _containers(pauses, settings))

    async def run() -> None:
        async with anyio.create_task_group() as group:
            if to_default or gpus.path.exists():
                group.start_soon(restore_gpus_of_lease)
            if pauses.path.exists():
                group.start_soon(containers_back)

    if not to_default and not gpus.path.exists() and not pauses.path.exists():
        return DONE
    with StateLock.acquire(state):
        anyio.run(run)
    return max(codes, default=DONE)


async def _containers(lease: PauseJournal, settings: Settings) -> int:
    from aiidpd.components.containers.docker.client import DockerRuntime  # noqa: PLC0415 -- costs 0.2 s

    timeout = min(settings.containers.call_timeout, _ENGINE_WITHIN / 2)
    engine = DockerRuntime(settings.containers.socket, call_timeout=timeout)
    try:
        return DONE if await put_back(engine, lease, within=_ENGINE_WITHIN, say=_say) else FAILED
    except PausesUnusable as error:
        _say(str(error))
        return FAILED


async def gpus_back(
    lease: RestoreJournal, settings: Settings, say: Callable[[str], None], *, to_default: bool = False
) -> int:
    """Put back the GPUs of ``lease``, and tell it line by line; return the exit code."""
    library = NvmlLibrary(call_timeout=settings.gpu.call_timeout, start_timeout=_START_WITHIN)
    try:
        return await (_to_default(lease, library, say) if to_default else _from(lease, library, say))
    except OSError as error:
        say(f"cannot write {lease.path}: {error.strerror or error}")
        return FAILED
    finally:
        await library.aclose()


async def _from(file: RestoreJournal, library: GpuLibrary, say: Callable[[str], None]) -> int:
    try:
        lease = file.read()
    except JournalUnusable as error:
        say(str(error))
        return FAILED
    if file.stale(lease):
        say("the lease is from before the machine was booted: the driver has forgotten what was set")
        file.write({})
        return DONE
    left = {uuid: gpu for uuid, gpu in lease.gpus.items() if not gpu.simulated}
    for outcome in await restore(library, left) if left else ():
        who = f"GPU {outcome.baseline.index} ({outcome.baseline.name})"
        if outcome.restored:
            del left[outcome.uuid]
            say(f"{who} is back at its baseline")
        else:
            remedy = f"; {outcome.remedy}" if outcome.remedy else ""
            say(f"cannot restore {who}: {outcome.problem}{remedy}")
    file.write(left)
    return FAILED if left else DONE


async def _to_default(file: RestoreJournal, library: GpuLibrary, say: Callable[[str], None]) -> int:
    failed = False
    try:
        uuids = [gpu.uuid for gpu in (await library.read()).gpus]
        faults = {
            uuid: [await library.apply(ResetPowerLimit(uuid)), await library.apply(ResetClocks(uuid))]
            for uuid in uuids
        }
        for gpu in (await library.read()).gpus:
            problem = default_outcome(gpu, faults.get(gpu.uuid, []))
            failed = failed or bool(problem)
            who = f"GPU {gpu.index} ({gpu.name})"
            say(f"cannot reset {who}: {problem}" if problem else f"{who} has its default power limit")
    except Unavailable as error:
        say(str(error))
        return FAILED
    if not failed:
        file.write({})
    return FAILED if failed else DONE


def _say(line: str) -> None:
    sys.stderr.write(f"aiidpd: {line}\n")
