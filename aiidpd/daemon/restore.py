"""Command ``aiidpd restore-gpus``: restores GPUs without the daemon, whatever ended it.

And it brings back the containers that were paused for a GPU's sake, or were being healed
(:mod:`.restore_containers`). systemd runs it after each end of the service (ExecStopPost=): after a clean one
there is nothing to do, and that is found without touching the driver or the Docker Engine. It needs no valid
configuration: what it needs is in the restore journals, and where those are is read from what is left of the
configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from aiidpd.components.containers.pause.journal import NAME as PAUSES
from aiidpd.components.containers.pause.journal import EngineAddress
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.thermal.commands import ResetClocks, ResetPowerLimit
from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.governor.journal import NAME, JournalEntry, RestoreJournal
from aiidpd.components.thermal.governor.restore import default_outcome, restore
from aiidpd.components.thermal.gpu import GpuLibrary
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.config.load import load
from aiidpd.config.salvage import salvage
from aiidpd.daemon.restore_containers import FILES, container_works
from aiidpd.daemon.schema import SCHEMA
from aiidpd.daemon.settings import DaemonSettings
from aiidpd.kernel.errors import Misconfigured, Unavailable
from aiidpd.platform.lock import StateLock
from aiidpd.platform.statefile import StateUnreadable

DONE: Final = 0
FAILED: Final = 1
_START_WITHIN = 8.0  # seconds: systemd gives a stop ten


@dataclass(frozen=True, slots=True)
class Means:
    """Part of the configuration that restoring needs: where the journals are, and what they may lack.

    ``broken`` is what is wrong with the configuration, empty where nothing is.
    """

    state: Path
    gpu_call_timeout: float
    engine: EngineAddress
    broken: str = ""


def restore_gpus(
    config: Path | None,
    environ: Mapping[str, str],
    *,
    state_directory: Path | None = None,
    to_default: bool = False,
) -> int:
    """Restore what the journals name; return the exit code: 0 nothing is left, 1 something is.

    GPUs get their limits and clocks back, paused containers are unpaused, and those that a heal has left
    down run again, side by side: what holds up one does not hold up the other. The journals are in
    ``state_directory``, else in the configured one; a configuration that can't be used is reported, and no
    reason not to restore. With ``to_default`` every GPU gets its default power limit and unlocked clocks,
    whatever the journal holds.

    Raises :class:`~aiidpd.kernel.errors.Misconfigured` where the state folder can't be used or a daemon
    runs on it: that one restores by itself.
    """
    if state_directory is not None and not state_directory.is_dir():
        remedy = "name the folder of daemon.state_directory"
        raise Misconfigured("read", str(state_directory), reason="there is no such folder", remedy=remedy)
    means = find_means(config, environ, state_directory)
    gpus = RestoreJournal(means.state / NAME)
    works = container_works(means.state, means.engine, environ, _report)
    codes: list[int] = []

    async def restore_journaled() -> None:
        codes.append(await gpus_back(gpus, means.gpu_call_timeout, _report, to_default=to_default))

    async def container_work(number: int) -> None:
        codes.append(DONE if await works[number]() else FAILED)

    async def run() -> None:
        async with anyio.create_task_group() as group:
            if to_default or gpus.path.exists():
                group.start_soon(restore_journaled)
            for number in range(len(works)):
                group.start_soon(container_work, number)

    nothing = not to_default and not gpus.path.exists() and not works
    if means.broken:
        _report(means.broken)
        found = "there is nothing to put back" if nothing else "what to undo is in the restore journals"
        _report(f"{found} in {means.state}")
    if nothing:
        return DONE
    with StateLock.acquire(means.state):
        anyio.run(run)
    return max(codes, default=DONE)


def find_means(config: Path | None, environ: Mapping[str, str], state_directory: Path | None) -> Means:
    """Return the means that the configuration gives, as far as it can be read."""
    try:
        settings = load(SCHEMA, config, environ).settings
    except Misconfigured as error:
        broken = str(error)
    else:
        containers = settings.table("containers", ContainersSettings)
        return Means(
            state_directory or settings.table("daemon", DaemonSettings).state_directory,
            settings.table("gpu", GpuSettings).call_timeout,
            EngineAddress(containers.socket, containers.call_timeout),
        )
    left = salvage(SCHEMA, config, environ)
    folders = [state_directory] if state_directory else left.values("daemon", "state_directory")
    # Where several are set, by a mistake or one over the other, it is where something was left.
    holding = [
        folder
        for names in ((NAME, PAUSES), FILES)
        for folder in folders
        if any((folder / name).exists() for name in names)
    ]
    sockets = left.values("containers", "socket") or [ContainersSettings().socket]
    timeouts = left.values("containers", "call_timeout") or [ContainersSettings().call_timeout]
    gpu_timeouts = left.values("gpu", "call_timeout") or [GpuSettings().call_timeout]
    return Means(
        state=[*holding, *folders, DaemonSettings().state_directory][0],
        gpu_call_timeout=gpu_timeouts[0],
        engine=EngineAddress(sockets[0], timeouts[0]),
        broken=broken,
    )


async def gpus_back(
    journal: RestoreJournal, call_timeout: float, report: Callable[[str], None], *, to_default: bool = False
) -> int:
    """Restore the GPUs of ``journal``, and report each in a line; return the exit code.

    A call to the driver may take ``call_timeout`` seconds, unless the journal holds another time.
    """
    found: JournalEntry | None = None
    try:
        found = journal.read()
        journal.call_timeout = found.call_timeout
    except StateUnreadable as error:
        if not to_default:
            report(str(error))
            return FAILED
    library = NvmlLibrary(call_timeout=journal.call_timeout or call_timeout, start_timeout=_START_WITHIN)
    try:
        if to_default or found is None:
            return await _to_default(journal, library, report)
        return await _from(journal, found, library, report)
    except OSError as error:
        report(f"cannot write {journal.path}: {error.strerror or error}")
        return FAILED
    finally:
        await library.aclose()


async def _from(
    journal: RestoreJournal, entry: JournalEntry, library: GpuLibrary, report: Callable[[str], None]
) -> int:
    if journal.stale(entry):
        report("the machine was booted since: the driver has forgotten what was set")
        journal.write({})
        return DONE
    left = {uuid: gpu for uuid, gpu in entry.gpus.items() if not gpu.simulated}
    for outcome in await restore(library, left) if left else ():
        who = f"GPU {outcome.baseline.index} ({outcome.baseline.name})"
        if outcome.restored:
            del left[outcome.uuid]
            report(f"{who} is back at its baseline")
        else:
            remedy = f"; {outcome.remedy}" if outcome.remedy else ""
            report(f"cannot restore {who}: {outcome.problem}{remedy}")
    journal.write(left)
    return FAILED if left else DONE


async def _to_default(journal: RestoreJournal, library: GpuLibrary, report: Callable[[str], None]) -> int:
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
            report(f"cannot reset {who}: {problem}" if problem else f"{who} has its default power limit")
    except Unavailable as error:
        report(str(error))
        return FAILED
    if not failed:
        journal.write({})
    return FAILED if failed else DONE


def _report(line: str) -> None:
    sys.stderr.write(f"aiidpd: {line}\n")
