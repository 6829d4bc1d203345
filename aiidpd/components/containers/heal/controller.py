"""Heals containers: carries out :mod:`.decide`, each heal in a task of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from aiidpd.components.containers.heal import progress
from aiidpd.components.containers.heal.book import PersonsHeal
from aiidpd.components.containers.heal.decide import step
from aiidpd.components.containers.heal.dependencies import dependencies
from aiidpd.components.containers.heal.policy import HealPolicy, policy_of
from aiidpd.components.containers.heal.run import HealRun, HealTools
from aiidpd.components.containers.heal.state import (
    LOOPING,
    Action,
    Begin,
    Effect,
    Heal,
    HealPhase,
    Observed,
    Outcome,
    Report,
    StopLoop,
    Topic,
)
from aiidpd.components.containers.recreate.state import is_temporary
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.contracts.engines import EnginesView
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Heartbeat

_IDLE: Final = 30.0  # seconds between two passes in which nothing has changed
_OPEN: Final = 1.0  # seconds, while something waits or is verified
_PACE: Final = 0.02  # seconds between two passes at least
_LISTEN: Final = 0.2  # seconds between two wakings by requests of engines
_STOP_AGAIN: Final = 5.0
_MOST_STOPS: Final = 5
LONGEST_BACKUP: Final = 3600.0
"""Seconds for which a backup holds up the heals of those that have mounted what it reads."""
_SPARE: Final = 100  # policies of containers that are gone, before they are dropped


@dataclass(frozen=True, slots=True)
class HealSources:
    """Readings of others: all containers, the ids of those stopped on request, the engines.

    ``backup`` gives the folder that a backup reads now, an empty text while none runs.
    """

    latest: Latest[RuntimeSnapshot]
    stopped: Callable[[], frozenset[str]]
    engines: Callable[[], EnginesView | None]
    backup: Callable[[], str]
    minute: Callable[[], int]
    tried: Callable[[], frozenset[str]] = frozenset
    """Names of the containers in whose place another image is tried now."""


def overlap(one: str, other: str) -> bool:
    """Return whether one of two absolute paths is the other, or a folder that it lies in."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def local_minute() -> int:
    """Return the minute of the local day."""
    now = time.localtime()
    return 60 * now.tm_hour + now.tm_min


class HealController:
    """Works through adapters of its own, which it closes. The book of ``tools`` outlives it."""

    def __init__(self, tools: HealTools, sources: HealSources) -> None:
        self._tools = tools
        self._sources = sources
        self._book = tools.book
        self._policies: dict[str, tuple[ContainerReading, HealPolicy]] = {}
        self._backup: tuple[str, float] | None = None

    @property
    def simulated(self) -> bool:
        """True where the containers are made up."""
        return self._tools.runtime.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Heal until cancelled; what is cut short is finished by the next run."""
        book, tools = self._book, self._tools
        with heartbeat.working():
            await anyio.to_thread.run_sync(book.load, abandon_on_cancel=True)
            if book.trouble:
                tools.publisher.file_failed(book.file.path.name, book.trouble)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(tools.recovery.run)
                self._resume(group)
                group.start_soon(self._listen)
                book.active, book.recreator = True, tools.recreator
                while True:
                    book.slept()
                    with heartbeat.working():
                        self._pass(group)
                    await tools.clock.sleep(_PACE)
                    await heartbeat.idle(book.changed, self._until_next())
        finally:
            book.active, book.recreator = False, None
            with anyio.CancelScope(shield=True):
                await tools.runtime.aclose()
                await tools.actions.aclose()
                await tools.recreator.aclose()

    async def _listen(self) -> None:
        """Wake the loop when an engine requests a heal."""
        while True:
            await self._book.inbox.arrived.wait()
            self._book.wake()
            await self._tools.clock.sleep(_LISTEN)

    def _resume(self, group: TaskGroup) -> None:
        """Take up what an earlier run of the task, or an earlier daemon, left unfinished."""
        for track in list(self._book.state.tracks.values()):
            heal = track.heal
            if heal is not None and heal.phase is HealPhase.PREPARING:
                self._book.put(progress.with_track, replace(track, heal=None))
            elif heal is not None and heal.phase is HealPhase.ACTING:
                group.start_soon(self._finish, heal)
            if track.parked is not None and track.parked.stop:
                group.start_soon(self._stop_loop, track.id, track.name)

    async def _finish(self, heal: Heal) -> None:
        """Finish a heal that was cut short, by the policy that the container has now."""
        reading: ContainerReading | None = None
        with suppress(Unavailable):
            reading = await self._tools.runtime.container(heal.id)
        policy = self._policy(reading or ContainerReading("", "", "", ""))
        await HealRun(heal, policy, self._tools).resume()

    # One pass

    def _pass(self, group: TaskGroup) -> None:
        book, tools = self._book, self._tools
        reading = self._sources.latest.get()
        if reading is None:
            while book.wanted:
                book.wanted.popleft().refuse("the containers can't be read now: see `aiidpctl status`")
            return
        observed = self._observed(reading.value)
        book.state, decisions, effects = step(book.state, observed, tools.settings)
        for effect in effects:
            self._apply(effect, group)
        self._begin_requested(group)
        book.decide(decisions, observed)
        tools.publisher.show(book.state, observed.policies, observed.relations.cycles)
        book.save_soon(simulated=self.simulated)
        if book.trouble:
            tools.publisher.file_failed(book.file.path.name, book.trouble)
        else:
            tools.publisher.file_works(book.file.path.name)

    def _apply(self, effect: Effect, group: TaskGroup) -> None:
        match effect:
            case Report():
                self._tools.publish((effect,))
            case Begin():
                policy = self._policies[effect.heal.id][1]
                group.start_soon(HealRun(effect.heal, policy, self._tools).run)
            case StopLoop():
                group.start_soon(self._stop_loop, effect.id, effect.name)

    def _begin_requested(self, group: TaskGroup) -> None:
        """Begin the heals that persons have requested."""
        book = self._book
        while book.wanted:
            request = book.wanted.popleft()
            track = next((each for each in book.state.tracks.values() if each.name == request.name), None)
            if track is None or track.id not in self._policies:
                request.refuse("the container does not exist any more")
            elif track.heal is not None:
                request.refuse("it is being healed already")
            elif track.name in self._sources.tried():
                request.refuse("another image is tried in its place: see `aiidpctl bench upgrades`")
            else:
                book.state, heal = progress.requested(book.state, track, request.cure, request.by, book.now)
                book.persons[request.name] = request
                group.start_soon(HealRun(heal, self._policies[track.id][1], self._tools).run)
            group.start_soon(self._follow, request)

    async def _follow(self, request: PersonsHeal) -> None:
        """End the job of a person's request when the heal ends."""
        with request.job.running():
            await request.ended.wait()
            report = request.report
            if report is None or report.outcome is None:
                request.job.fail(request.problem)
            elif report.outcome is Outcome.HEALED:
                request.job.succeed(outcome=report.outcome, reason=report.reason, **report.evidence)
            else:
                request.job.fail(report.reason, outcome=report.outcome, **report.evidence)

    def _observed(self, snapshot: RuntimeSnapshot) -> Observed:
        # In the middle of a re-creation there are two of a container, and both have its labels.
        readings = tuple(each for each in snapshot.containers if not is_temporary(each.name))
        policies = {each.id: self._policy(each) for each in readings}
        if len(self._policies) > 2 * len(policies) + _SPARE:
            self._policies = {key: self._policies[key] for key in policies}
        relations = dependencies(readings, {key: each.depends_on for key, each in policies.items()})
        engines = self._sources.engines()
        found = () if engines is None else engines.engines
        return Observed(
            readings,
            policies,
            now=self._book.now,
            wall=self._tools.clock.time(),
            minute=self._sources.minute(),
            uniform=self._tools.uniform(),
            unreadable=frozenset(key for key, name in snapshot.unreadable if not is_temporary(name)),
            stopped=self._sources.stopped(),
            requests=self._book.requests(simulated=snapshot.simulated),
            verdicts={each.container: each.verdict for each in found if each.container},
            relations=relations,
            backed_up=self._backed_up(readings),
            tried=self._sources.tried(),
        )

    def _backed_up(self, readings: Iterable[ContainerReading]) -> frozenset[str]:
        """Return the ids of containers that have mounted what a backup reads, for an hour at most."""
        source, now = self._sources.backup(), self._book.now
        if self._backup is None or self._backup[0] != source:
            self._backup = source, now
        if not source or now - self._backup[1] > LONGEST_BACKUP:
            return frozenset()
        return frozenset(
            each.id for each in readings if any(overlap(source, mount.source) for mount in each.mounts)
        )

    def _policy(self, reading: ContainerReading) -> HealPolicy:
        """Return the policy of a container, made once a reading."""
        known = self._policies.get(reading.id)
        if known is None or known[0] is not reading:
            known = self._policies[reading.id] = reading, policy_of(reading, self._tools.settings)
        return known[1]

    async def _stop_loop(self, identity: str, name: str) -> None:
        """Stop a container that ends again and again: it is parked, and that is on the disk first."""
        book, tools = self._book, self._tools
        problem = ""
        for _ in range(_MOST_STOPS):
            track = book.state.tracks.get(identity)
            if track is None or track.parked is None or not track.parked.stop:
                return
            try:
                if await book.save(simulated=self.simulated):
                    await tools.actions.stop(identity, self._tools.settings.stop_grace)
                    break
                problem = book.problem
            except Unavailable as error:
                problem = str(error)
            await tools.clock.sleep(_STOP_AGAIN)
        else:
            reason = f"its restart loop goes on, since it can't be stopped: {problem}"
            report = Report(Topic.HEAL_PARKED, identity, name, reason, LOOPING, remedy=f"docker stop {name}")
            tools.publish((report,))
        book.put(progress.stopped_loop, identity)
        book.save_soon(simulated=self.simulated)

    def _until_next(self) -> float:
        """Return the seconds until something may change by itself."""
        waits = {Action.WAIT, Action.HEALING, Action.HEAL}
        pending = any(each.action in waits for each in self._book.decisions)
        pending = pending or any(each.heal is not None for each in self._book.state.tracks.values())
        now = self._book.now
        ends = [each.until - now for each in self._book.decisions if each.until is not None]
        return max(_PACE, min([_OPEN if pending else _IDLE, *ends]))
