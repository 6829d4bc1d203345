"""One heal, carried out: evidence, drain, journal, act; and finished where it was cut short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import anyio

from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.heal import progress
from aiidpd.components.containers.heal.book import HealBook
from aiidpd.components.containers.heal.events import HealPublisher
from aiidpd.components.containers.heal.execs import visited_by
from aiidpd.components.containers.heal.policy import HealPolicy
from aiidpd.components.containers.heal.protocols import (
    EvidenceCollector,
    HealSubject,
    NotRecreated,
    Recreator,
)
from aiidpd.components.containers.heal.recovery import Recovery
from aiidpd.components.containers.heal.state import (
    UNHEALTHY,
    UNKILLABLE,
    Effect,
    Heal,
    Outcome,
    Parked,
    Report,
    Topic,
)
from aiidpd.components.containers.heal.verify import LEAST
from aiidpd.components.containers.runtime import ContainerReading, ContainerRuntime
from aiidpd.components.containers.settings import HealSettings
from aiidpd.contracts.engines import EngineState
from aiidpd.contracts.messages import Cure
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.words import lasting

EVIDENCE_WITHIN: Final = 30.0  # seconds, then the heal goes on without
SETTLE: Final = 10.0  # seconds
KILLED_WITHIN: Final = 10.0  # seconds that a killed process has to end
_POLL: Final = 0.25
_AGAIN: Final = 1.0
_MOST_STARTS: Final = 3
_NO_EXIT: Final = "did not receive an exit event"  # Docker's words about a process that survives SIGKILL


@dataclass(frozen=True, slots=True)
class HealTools:
    """Everything that a heal is carried out with. ``engine(id)`` is the engine in a container, if known.

    ``settle`` are the seconds beyond its grace in which a call without an answer may yet be carried out.
    """

    runtime: ContainerRuntime
    actions: ContainerActions
    collector: EvidenceCollector
    recreator: Recreator
    recovery: Recovery
    book: HealBook
    publisher: HealPublisher
    clock: Clock
    settings: HealSettings
    engine: Callable[[str], EngineState | None]
    uniform: Callable[[], float]
    settle: float = SETTLE

    def publish(self, effects: tuple[Effect, ...]) -> None:
        """Publish the reports among ``effects``."""
        for effect in effects:
            if isinstance(effect, Report):
                self.publisher.report(effect)
                self.book.reported(effect)


class HealRun:
    """Carries out ``heal`` by ``policy``. However it ends, the book has its outcome, or that it goes on."""

    def __init__(self, heal: Heal, policy: HealPolicy, tools: HealTools) -> None:
        self._heal = heal
        self._policy = policy
        self._tools = tools
        self._book = tools.book
        self._called = 0.0
        self._error: Unavailable | None = None
        self._starts = 0
        self._repeated = False

    async def run(self) -> None:
        """Prepare, and act where it is still called for."""
        try:
            if await self._prepare():
                await self._act()
        except Unavailable as error:
            self._defer(f"the runtime does not answer: {error}")

    async def resume(self) -> None:
        """Finish one that was cut short while the runtime was called, or may have been."""
        await self._finish(self._tools.clock.monotonic())

    # Before anything is touched

    async def _prepare(self) -> bool:
        """Have evidence on the disk, and requests end; return whether the act is still called for.

        The first time what is known suffices for the evidence to begin, and meanwhile the container is read
        anew. One that was left alone before is read first: no evidence without a heal again and again.
        """
        track = self._book.state.tracks.get(self._heal.id)
        known = None if track is None or track.deferred or self._heal.by else track.reading
        reading = known or await self._still_called_for()
        if reading is None or (known is not None and not self._called_for(known)):
            return False
        self._say("collecting evidence")
        called_for = True
        async with anyio.create_task_group() as group:

            async def check() -> None:
                nonlocal called_for
                try:
                    called_for = await self._still_called_for() is not None
                except Unavailable as error:
                    called_for = False
                    self._defer(f"the runtime does not answer: {error}")

            if known is not None:
                group.start_soon(check)
            await self._collect(reading)
        if not called_for:
            return False
        if await self._drain() and await self._still_called_for() is None:
            return False
        return await self._may_recreate()

    async def _collect(self, reading: ContainerReading) -> None:
        fault, tools = self._heal.fault, self._tools
        subject = HealSubject(reading, fault.type, fault.reason, tools.runtime.simulated)
        with anyio.move_on_after(EVIDENCE_WITHIN):
            incident = await tools.collector.collect(subject, fault.evidence)
            self._heal = replace(self._heal, incident=incident)

    async def _still_called_for(self) -> ContainerReading | None:
        """Read the container; return its reading, or None where the heal has ended with that."""
        heal, tools = self._heal, self._tools
        reading = await tools.runtime.container(heal.id)
        if reading is None:
            self._end(Outcome.GONE, "the container was removed")
            return None
        if not self._called_for(reading):
            return None
        if not heal.by and reading.execs:
            execs = await tools.actions.execs(heal.id)
            if execs and (command := visited_by(await tools.actions.describe(heal.id), execs)):
                self._defer(f"somebody runs a command in it ({command})")
                return None
        return reading

    def _called_for(self, reading: ContainerReading) -> bool:
        """Return whether the fault is still there; where it is not, the heal has ended."""
        heal = self._heal
        if heal.by:
            return True
        if reading.state == "paused":
            self._defer("it is paused")
        elif reading.started_at != heal.started_at:
            self._defer("another run of it has begun meanwhile", Outcome.RECOVERED)
        elif heal.fault.type == UNHEALTHY and reading.state != "running":
            self._defer("it does not run any more")
        elif heal.fault.type == UNHEALTHY and reading.health != "unhealthy":
            self._defer("its health check does not fail any more", Outcome.RECOVERED)
        elif heal.fault.type == UNHEALTHY and reading.failing_streak == 1:
            self._defer("its health check has failed once: the next one decides")
        else:
            return True
        return False

    async def _drain(self) -> bool:
        """Wait until no request runs, at most for the policy's drain; return whether that took time."""
        clock, heal = self._tools.clock, self._heal
        if heal.fault.hung:
            return False
        until = clock.monotonic() + self._policy.drain
        waited = False
        while clock.monotonic() < until:
            engine = self._tools.engine(heal.id)
            running = None if engine is None else engine.requests_running
            if not running:
                break
            self._say(f"waiting for {running} requests to end")
            waited = True
            await clock.sleep(_POLL)
        return waited

    async def _may_recreate(self) -> bool:
        """Return whether the act can be carried out; a restart takes the place of what only might help."""
        heal = self._heal
        if heal.cure is not Cure.RECREATE:
            return True
        refusal = await self._tools.recreator.check(heal.id)
        if refusal is None:
            return True
        if heal.fault.cure is Cure.RECREATE:
            self._not_recreated(refusal)
            return False
        self._heal = replace(heal, cure=Cure.RESTART)
        return True

    # The act

    async def _act(self) -> None:
        heal, tools, book = self._heal, self._tools, self._book
        book.put(progress.prepared, heal.id, cure=heal.cure, incident=heal.incident, now=book.now)
        if not await book.save(simulated=tools.runtime.simulated):
            self._defer(book.problem)
            return
        evidence = {"incident": heal.incident, "requested_by": heal.by}
        tools.publisher.report(
            Report(
                Topic.HEAL_BEGAN,
                heal.id,
                heal.name,
                heal.fault.reason,
                heal.fault.type,
                heal.cure,
                evidence={**heal.fault.evidence, **{key: text for key, text in evidence.items() if text}},
            )
        )
        began = tools.clock.monotonic()
        self._say("creating it anew" if heal.cure is Cure.RECREATE else "restarting it")
        try:
            if heal.cure is Cure.RECREATE:
                await self._recreate()
            elif await tools.actions.restart(heal.id, self._policy.stop_grace):
                await self._acted(heal.id)
            else:
                self._end(Outcome.GONE, "the container was removed")
        except Unavailable as error:
            await self._finish(began, error)

    async def _recreate(self) -> None:
        made = await self._tools.recreator.recreate(self._heal.id, grace=self._policy.stop_grace)
        if not isinstance(made, NotRecreated):
            self._tools.publisher.recreated(self._heal.name, made)
            await self._acted(made.identity)
        elif self._heal.fault.cure is Cure.RECREATE:
            self._not_recreated(made)
        else:
            self._end(Outcome.FAILED, f"it can't be created anew: {made.reason}")

    async def _acted(self, identity: str) -> None:
        """Report that the runtime has done it."""
        reading = None
        try:
            reading = await self._tools.runtime.container(identity)
        except Unavailable:
            pass  # the next reading of all containers has it
        else:
            if reading is None:
                self._end(Outcome.GONE, "the container was removed")
                return
        self._book.forget_requests(self._heal.id)
        self._book.put(progress.acted, self._heal.id, reading, self._book.now)
        self._book.save_soon(simulated=self._tools.runtime.simulated)
        grace = lasting(max(LEAST, self._policy.grace))
        self._say(f"waiting until it is well, for {grace} at most")

    async def _finish(self, called: float, error: Unavailable | None = None) -> None:
        """See what a call without an answer has done, and do what is missing, until the heal has ended.

        The runtime was ``called`` at that monotonic second. A container that we stopped is started, whatever
        becomes of the heal; one that does not die of being killed is parked.
        """
        self._called, self._error = called, error
        if self._heal.cure is Cure.RECREATE:
            await self._tools.recovery.run()
        while not await self._finished():
            await self._tools.clock.sleep(_AGAIN)

    async def _finished(self) -> bool:
        try:
            return await self._advance()
        except Unavailable as error:
            self._error = error
            return False

    async def _advance(self) -> bool:
        """Do the next thing that is missing; return whether the heal has ended with that."""
        reading = await self._present()
        if reading is None:
            self._end(Outcome.GONE, "the container was removed")
            return True
        if reading.id != self._heal.id or reading.started_at != self._heal.started_at:
            await self._acted(reading.id)
            return True
        if not reading.running and reading.state != "restarting":
            return await self._start(reading)
        if self._tools.clock.monotonic() - self._called < self._policy.stop_grace + self._tools.settle:
            return False  # the runtime may be at it
        if self._repeated:
            return await self._kill()
        self._repeated = True
        return await self._repeat()

    async def _present(self) -> ContainerReading | None:
        """Return the reading of the container: of the one that took its place, where it was created anew."""
        runtime, heal = self._tools.runtime, self._heal
        if heal.cure is Cure.RECREATE:
            snapshot = await runtime.containers()
            named = [each for each in snapshot.containers if each.name == heal.name]
            if named:
                return named[0]
        return await runtime.container(heal.id)

    async def _start(self, reading: ContainerReading) -> bool:
        """Start what we stopped; return whether the heal has ended with that."""
        if self._starts >= _MOST_STARTS:
            why = str(self._error or reading.error)
            self._end(Outcome.FAILED, f"it was stopped and can't be started: {why}".rstrip(": "), owed=True)
            return True
        self._starts += 1
        await self._tools.actions.start(reading.id)
        return False

    async def _repeat(self) -> bool:
        """Call the runtime once more; return whether the heal has ended with that."""
        if self._heal.cure is not Cure.RECREATE:
            await self._tools.actions.restart(self._heal.id, 0.0)
            return False
        made = await self._tools.recreator.recreate(self._heal.id, grace=0.0)
        if isinstance(made, NotRecreated):
            self._not_recreated(made)
            return True
        return False

    async def _kill(self) -> bool:
        """Kill what did not end, and park what does not die of that: nothing but a reboot helps then."""
        heal, clock = self._heal, self._tools.clock
        try:
            await self._tools.actions.kill(heal.id)
        except Unavailable as error:
            if _NO_EXIT not in str(error):
                self._end(Outcome.FAILED, f"the runtime does not restart it: {self._error or error}")
                return True
        until = clock.monotonic() + KILLED_WITHIN
        while clock.monotonic() < until:
            reading = await self._tools.runtime.container(heal.id)
            if reading is None or reading.started_at != heal.started_at or not reading.running:
                return False
            await clock.sleep(_POLL)
        reason = "cannot be killed: a process of it survives SIGKILL; the machine must be rebooted"
        remedy = "`dmesg` may say what it waits for; then reboot: nothing else ends such a process"
        self._end(Outcome.FAILED, reason, parked=Parked(UNKILLABLE, reason, remedy, self._book.now))
        return True

    # Outcomes

    def _not_recreated(self, refusal: NotRecreated) -> None:
        reason = f"it must be created anew, and aiidpd can't do that faithfully: {refusal.reason}"
        remedy = refusal.remedy or f"create {self._heal.name} anew as you made it"
        parked = Parked(self._heal.fault.type, reason, remedy, self._book.now)
        self._end(Outcome.FAILED, reason, parked=None if self._heal.by else parked)

    def _defer(self, reason: str, outcome: Outcome = Outcome.DEFERRED) -> None:
        book = self._book
        effects = book.update(progress.deferred, self._heal.id, reason, book.now, outcome)
        self._tools.publish(effects)

    def _end(
        self, outcome: Outcome, reason: str, *, owed: bool = False, parked: Parked | None = None
    ) -> None:
        book, tools = self._book, self._tools
        effects = book.update(
            progress.ended,
            self._heal.id,
            outcome,
            reason,
            now=book.now,
            settings=tools.settings,
            uniform=tools.uniform(),
            owed=owed,
            parked=parked,
        )
        tools.publish(effects)
        book.save_soon(simulated=tools.runtime.simulated)

    def _say(self, words: str) -> None:
        """Report progress to whoever requested it."""
        if (request := self._book.persons.get(self._heal.name)) is not None:
            request.job.progress(words)
