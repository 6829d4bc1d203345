"""Containers that a daemon has left paused, down, half created anew or on trial: brought back without it.

Files in the state folder say what is left. To read them costs no call to the Docker Engine, which is not
touched where nothing is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from aiidpd.components.containers.heal.record import LIMIT, HealRecords
from aiidpd.components.containers.heal.record import NAME as HEALS
from aiidpd.components.containers.heal.restore import start_all, to_start
from aiidpd.components.containers.pause.journal import NAME as PAUSES
from aiidpd.components.containers.pause.journal import EngineAddress, PauseJournal
from aiidpd.components.containers.pause.restore import unpause_all
from aiidpd.components.containers.recreate.journal import NAME as RECREATIONS
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.trial.journal import NAME as TRIALS
from aiidpd.components.containers.trial.journal import TrialJournal
from aiidpd.kernel.clock import SystemClock
from aiidpd.platform.statefile import StateFile, StateUnreadable

FILES: Final = (RECREATIONS, HEALS)
"""Files that are there also where nothing is left."""

_ENGINE_WITHIN: Final = 6.0
_RECREATE_WITHIN: Final = 7.5  # seconds: systemd gives a stop ten, the start of this program included

Work: TypeAlias = Callable[[], Awaitable[bool]]
Report: TypeAlias = Callable[[str], None]


def container_works(
    state: Path, engine: EngineAddress, environ: Mapping[str, str], report: Report
) -> tuple[Work, ...]:
    """Return what brings containers back, none where nothing is left in ``state``. Blocks on the disk.

    Each returns whether it has brought back all, and gives ``report`` a line about each container.
    """
    works: list[Work] = []
    if (state / PAUSES).exists():
        works.append(lambda: _unpause(state / PAUSES, engine, report))
    if _recreations_left(state / RECREATIONS):
        works.append(lambda: _recover(state / RECREATIONS, engine, environ, report))
    if (state / TRIALS).exists():
        works.append(lambda: _end_trials(state, engine, report))
    if _heals_left(state / HEALS):
        works.append(lambda: _start(state / HEALS, engine, report))
    return tuple(works)


def _recreations_left(path: Path) -> bool:
    journal = RecreationJournal(path)
    try:
        journal.load()
    except StateUnreadable:
        return True  # to be reported
    return bool(journal.active)


def _heals_left(path: Path) -> bool:
    try:
        return bool(to_start(_heals(path).load()))
    except StateUnreadable:
        return False  # the next daemon sets it aside, and it holds budgets more than anything else


def _heals(path: Path) -> StateFile[HealRecords]:
    return StateFile(path, HealRecords, limit=LIMIT)


async def _unpause(path: Path, configured: EngineAddress, report: Report) -> bool:
    from aiidpd.components.containers.docker.client import DockerRuntime  # noqa: PLC0415 -- costs 0.2 s

    try:
        recorded = PauseJournal(path).read_engine()
        # The engine that paused them resumes them, unless its socket has moved.
        address = recorded if recorded and recorded.socket.exists() else configured
        engine = DockerRuntime(address.socket, call_timeout=_call_timeout(address))
        journal = PauseJournal(path, recorded or configured)
        return await unpause_all(engine, journal, within=_ENGINE_WITHIN, report=report)
    except StateUnreadable as error:
        report(str(error))
        return False


async def _recover(path: Path, engine: EngineAddress, environ: Mapping[str, str], report: Report) -> bool:
    from aiidpd.components.containers.docker.actions import DockerActions  # noqa: PLC0415 -- costs 0.2 s
    from aiidpd.components.containers.recreate.compose import Compose  # noqa: PLC0415
    from aiidpd.components.containers.recreate.controller import ContainerRecreator  # noqa: PLC0415
    from aiidpd.components.containers.recreate.restore import recover_all  # noqa: PLC0415

    clock, journal = SystemClock(), RecreationJournal(path)
    recreator = ContainerRecreator(
        DockerActions(engine.socket, call_timeout=_call_timeout(engine)),
        journal,
        compose=Compose(engine.socket, environ),
        clock=clock,
    )
    try:
        return await recover_all(recreator, journal, clock, within=_RECREATE_WITHIN, report=report)
    except StateUnreadable as error:
        report(str(error))
        return False


async def _end_trials(state: Path, engine: EngineAddress, report: Report) -> bool:
    from aiidpd.components.containers.docker.actions import DockerActions  # noqa: PLC0415 -- costs 0.2 s
    from aiidpd.components.containers.trial.restore import end_all  # noqa: PLC0415

    return await end_all(
        DockerActions(engine.socket, call_timeout=_call_timeout(engine)),
        TrialJournal(state / TRIALS),
        RecreationJournal(state / RECREATIONS),
        SystemClock(),
        within=_RECREATE_WITHIN,
        report=report,
    )


async def _start(path: Path, engine: EngineAddress, report: Report) -> bool:
    from aiidpd.components.containers.docker.actions import DockerActions  # noqa: PLC0415 -- costs 0.2 s
    from aiidpd.components.containers.docker.client import DockerRuntime  # noqa: PLC0415

    timeout = _call_timeout(engine)
    return await start_all(
        to_start(_heals(path).load()),
        DockerRuntime(engine.socket, call_timeout=timeout),
        DockerActions(engine.socket, call_timeout=timeout),
        SystemClock(),
        within=_ENGINE_WITHIN,
        report=report,
    )


def _call_timeout(address: EngineAddress) -> float:
    return min(address.call_timeout, _ENGINE_WITHIN / 2)
