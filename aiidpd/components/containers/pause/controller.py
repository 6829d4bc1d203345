"""Pauses containers while a back-off request is in force, and unpauses them: carries out :mod:`.decide`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import anyio
import anyio.to_thread

from aiidpd.components.containers.pause import decide
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.journal import PauseJournal
from aiidpd.components.containers.pause.state import (
    Effect,
    Observed,
    Pause,
    PauseProgress,
    PauseState,
    PauseTally,
    PauseView,
    Report,
    StartPause,
    Unpause,
    views,
)
from aiidpd.components.containers.runtime import ContainerReading, ContainerRuntime
from aiidpd.components.containers.settings import PauseSettings
from aiidpd.contracts.backoff import BackOffs
from aiidpd.contracts.messages import BackOffMessage, BackOffRequested
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.statefile import StateUnreadable

_READ_EVERY = 1.0  # seconds, while something is paused or requested
_NEVER = 3600.0
_SOON = 0.05
_SETTLE = 10.0  # seconds in which a call without an answer may yet be carried out
_CLOSING = 2.0  # seconds that a worker that ends waits until everything is unpaused
_ANSWER_WITHIN = 1.5  # seconds that a stop waits for the answer to a call that was made already


class Pauses:
    """Part of the controller that outlives its runs: the state, the requests in force, the counts.

    The requests come by ``inbox``.
    """

    def __init__(self, clock: Clock, inbox: Inbox[BackOffMessage]) -> None:
        self._clock = clock
        self._back_offs = BackOffs()
        self._inbox = inbox
        self.state = PauseState()
        self.tally = PauseTally()

    @property
    def arrived(self) -> anyio.Event:
        """Set while a message waits for :meth:`receive`."""
        return self._inbox.arrived

    def receive(self) -> None:
        """Take over the messages that wait."""
        self._back_offs = self._back_offs.after(self._inbox.take())

    def requests(self, *, simulated: bool) -> tuple[BackOffRequested, ...]:
        """Return the requests that are in force now, to containers that are or are not ``simulated``."""
        # Heat that is made up is no reason to pause what is not.
        return tuple(
            request
            for request in self._back_offs.active(self._clock.monotonic())
            if request.containers and (simulated or not request.simulated)
        )

    def owned(self, identity: str) -> bool:
        """Return whether the container whose id begins with ``identity`` is paused by us, or may be."""
        return any(key.startswith(identity) for key, held in self.state.held.items() if held.called)

    def active(self) -> Iterator[PauseView]:
        """Yield the pauses that are known to be in force."""
        return views(self.state, self._clock.time() - self._clock.monotonic())


class PauseController:
    """Works through a ``runtime`` of its own, which it closes: a slow reading holds nothing up.

    ``pauses`` outlives it. However :meth:`run` ends, what it paused runs again or is in ``journal``.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        journal: PauseJournal,
        *,
        pauses: Pauses,
        publisher: PausePublisher,
        clock: Clock,
        settings: PauseSettings,
        settle: float = _SETTLE,
        closing: float = _CLOSING,
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._pauses = pauses
        self._publisher = publisher
        self._clock = clock
        self._settings = settings
        self._settle = settle
        self._closing = closing
        self._resumed = False
        self._written: frozenset[Pause] | None = None  # what the journal names; None: that is not known

    @property
    def simulated(self) -> bool:
        """True where the containers are made up."""
        return self._runtime.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Obey until cancelled."""
        with heartbeat.working():
            pass  # what it waits for may never come
        try:
            await self._resume(heartbeat)
            while True:
                with heartbeat.working():
                    await self._pass()
                await heartbeat.idle(self._pauses.arrived, self._until_next())
        finally:
            with anyio.CancelScope(shield=True):
                await self._unpause_all("aiidpd ends, or works by a new configuration")
                await self._runtime.aclose()

    async def unpause_all(self) -> bool:
        """Unpause what the journal names, and nothing else; return whether all of it runs.

        Bounded by ``closing`` seconds. Raises :class:`~aiidpd.platform.statefile.StateUnreadable`.
        """
        try:
            self._take_over(await anyio.to_thread.run_sync(self._journal.read))
            return await self._unpause_all("")
        finally:
            await self._runtime.aclose()

    async def _unpause_all(self, reason: str) -> bool:
        with anyio.move_on_after(self._closing):
            while self._resumed:
                await self._step(Observed(held=await self._readings()), closing=reason or "aiidpd has ended")
                if not self._pauses.state.held and not self._written:
                    return True
                await self._clock.sleep(_SOON)
        return False

    async def _resume(self, heartbeat: Heartbeat) -> None:
        """Take over what an earlier run left; nothing is paused before that is known."""
        while not self._resumed:
            try:
                left = await anyio.to_thread.run_sync(self._journal.read, abandon_on_cancel=True)
                self._take_over(left)
            except StateUnreadable as error:
                self._publisher.journal_failed(str(self._journal.path), error.reason, error.remedy)
                await heartbeat.idle(anyio.Event(), decide.RETRY)
        self._publisher.journal_works(str(self._journal.path))

    def _take_over(self, left: tuple[Pause, ...]) -> None:
        # What is made up has ended with the process that did.
        real = [pause for pause in left if not pause.simulated]
        if real and self._runtime.simulated:
            raise self._journal.unreadable(
                'it names containers of a Docker Engine, and containers.engine is "simulated"'
            )
        now = self._clock.monotonic()
        self._pauses.state = decide.resumed(self._pauses.state, real, now, self._settle)
        self._written, self._resumed = frozenset(left), True
        self._publisher.show(self._pauses.state)

    async def _pass(self) -> None:
        self._pauses.receive()
        await self._step(Observed(held=await self._readings()))
        state = self._pauses.state
        requested = {name for request in self._requests() for name in request.containers}
        if requested - {held.pause.name for held in state.held.values()} - set(state.alone.values()):
            await self._step(await self._names())

    def _requests(self) -> tuple[BackOffRequested, ...]:
        return self._pauses.requests(simulated=self._runtime.simulated)

    async def _step(self, observed: Observed, closing: str = "") -> None:
        now = self._clock.monotonic()
        self._pauses.state, effects = decide.step(
            self._pauses.state, observed, self._requests(), now, self._settings, closing=closing
        )
        await self._apply(effects)
        self._publisher.show(self._pauses.state)

    async def _apply(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Report):
                self._publisher.report(effect)
        begun = [effect.held for effect in effects if isinstance(effect, StartPause)]
        if not await self._write():
            for held in begun:
                identity, now = held.pause.id, self._clock.monotonic()
                self._pauses.state = decide.not_written(self._pauses.state, identity, now)
            begun = []
        async with anyio.create_task_group() as group:
            for held in begun:
                group.start_soon(self._pause, held)
            for effect in effects:
                if isinstance(effect, Unpause):
                    group.start_soon(self._unpause, effect.held)
        await self._write()

    async def _pause(self, held: PauseProgress) -> None:
        identity = held.pause.id
        now = self._clock.monotonic()
        self._pauses.state = decide.calling(self._pauses.state, identity, now, self._settle)
        try:
            # A stop waits for the answer: a call that is cut off may be carried out all the same.
            with anyio.fail_after(_ANSWER_WITHIN, shield=True):
                ours = await self._runtime.pause(identity)
        except TimeoutError:
            self._failed(identity, f"the engine did not answer within {_ANSWER_WITHIN:g} s")
        except Unavailable as error:
            self._failed(identity, str(error))
        else:
            self._pauses.state, reports = decide.paused(self._pauses.state, identity, ours=ours)
            self._publish(reports)

    async def _unpause(self, held: PauseProgress) -> None:
        identity = held.pause.id
        try:
            await self._runtime.unpause(identity)
        except Unavailable as error:
            self._failed(identity, str(error))
        else:
            now = self._clock.monotonic()
            self._pauses.state, reports = decide.unpaused(
                self._pauses.state, identity, now, self._settings.rest
            )
            self._publish(reports)

    def _failed(self, identity: str, problem: str) -> None:
        now = self._clock.monotonic()
        self._pauses.state, reports = decide.failed(self._pauses.state, identity, problem, now, self._settle)
        self._publish(reports)

    def _publish(self, reports: tuple[Report, ...]) -> None:
        for each in reports:
            self._publisher.report(each)

    async def _readings(self) -> Mapping[str, ContainerReading | None]:
        """Return the readings of what is held; what can't be read is left out."""
        found: dict[str, ContainerReading | None] = {}

        async def read(identity: str) -> None:
            try:
                found[identity] = await self._runtime.container(identity)
            except Unavailable as error:
                held = self._pauses.state.held[identity]
                if held.over:
                    self._failed(identity, str(error))

        async with anyio.create_task_group() as group:
            for identity, held in self._pauses.state.held.items():
                if held.called:
                    group.start_soon(read, identity)
        return found

    async def _names(self) -> Observed:
        try:
            snapshot = await self._runtime.containers()
        except Unavailable:
            return Observed()  # the worker's own readings report it
        unread: dict[str, ContainerReading | None] = {name: None for _, name in snapshot.unreadable}
        named = unread | {reading.name: reading for reading in snapshot.containers}
        return Observed(named=named, simulated=self._runtime.simulated)

    async def _write(self) -> bool:
        """Have the journal name all that is paused; return whether it does."""
        wanted = frozenset(held.pause for held in self._pauses.state.held.values())
        if wanted == self._written:
            return True
        before, self._written = self._written, None
        try:
            write = self._journal.writing(sorted(wanted, key=lambda pause: pause.name))
            await anyio.to_thread.run_sync(write, abandon_on_cancel=True)
        except OSError as error:
            self._written = before
            self._publisher.cannot_write(str(self._journal.path), error)
            return False
        self._written = wanted
        self._publisher.journal_works(str(self._journal.path))
        return True

    def _until_next(self) -> float:
        held = self._pauses.state.held
        if not held and not self._requests() and not self._written:
            return _NEVER
        now = self._clock.monotonic()
        ends = [each.until - now for each in held.values() if not each.over]
        return max(_SOON, min([_READ_EVERY, *ends]))
