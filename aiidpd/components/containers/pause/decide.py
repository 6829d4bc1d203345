"""Pauses of containers while a GPU is too hot: when one begins, when it ends, how a call ended (pure).

A pause begins while a request is in force, and it always ends: with the request, after its longest time, with
the worker. Then the container runs for a while before it may be paused again, so that its clients get on,
however long a GPU stays hot. Five rules protect what is not ours:

- Only a container that runs is paused, and only a run (by its start time) that is held is unpaused.
- It is held, and so in the journal, before the runtime is called, and until a reading or an answer shows that
  it runs.
- A call whose answer was lost may still be carried out: so one that runs is held a while longer.
- Whoever unpauses a container before us is right: it is left alone until no request names it any more.
- Without a reading nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from types import MappingProxyType
from typing import Final

from aiidpd.components.containers.pause.state import (
    Effect,
    Observed,
    Outcome,
    Pause,
    PauseProgress,
    PauseState,
    Phase,
    Report,
    StartPause,
    Unpause,
)
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import PauseSettings
from aiidpd.contracts.messages import BackOffRequested

RETRY: Final = 2.0  # seconds after a journal that could not be written, or a call that failed


def step(
    state: PauseState,
    observed: Observed,
    requests: Sequence[BackOffRequested],
    now: float,
    settings: PauseSettings,
    *,
    closing: str = "",
) -> tuple[PauseState, tuple[Effect, ...]]:
    """Return the state after ``observed``, read at monotonic second ``now``, and what is to be done.

    ``requests`` are those in force. ``closing`` is why everything is unpaused now and nothing more paused.
    The outcome of an effect is given to the functions below, before the next step.
    """
    decision = _Decision(state, observed, requests, now, settings)
    decision.closing = closing
    for held in state.held.values():
        decision.follow(held)
    if observed.named is not None and not closing:
        for request in requests:
            decision.obey(request, observed.named)
    return decision.close()


class _Decision:
    """One step at work: mutable only inside :func:`step`."""

    def __init__(
        self,
        state: PauseState,
        observed: Observed,
        requests: Sequence[BackOffRequested],
        now: float,
        settings: PauseSettings,
    ) -> None:
        self.closing = ""
        self._requested = {name: request for request in reversed(requests) for name in request.containers}
        self._observed = observed
        self._now = now
        self._settings = settings
        self._held = dict(state.held)
        self._rested = {key: at for key, at in state.rested.items() if at > now}
        self._alone = {key: name for key, name in state.alone.items() if name in self._requested}
        self._missing = state.missing & self._requested.keys()
        self._effects: list[Effect] = []

    def close(self) -> tuple[PauseState, tuple[Effect, ...]]:
        state = PauseState(
            MappingProxyType(self._held),
            MappingProxyType(self._rested),
            MappingProxyType(self._alone),
            self._missing,
        )
        return state, tuple(self._effects)

    def follow(self, held: PauseProgress) -> None:
        """Compare what is held with what the runtime shows, and unpause what is over."""
        if held.phase is not Phase.RELEASING and (reason := self._over(held)):
            held = replace(held, phase=Phase.RELEASING, over=reason, troubled=False)
        self._held[held.pause.id] = held
        if not held.called:
            if held.phase is Phase.RELEASING:
                self._drop(held)  # the runtime was not called
            return
        if held.pause.id not in self._observed.held:
            return
        reading = self._observed.held[held.pause.id]
        if reading is None:
            self._drop(held, Outcome.LOST, "it was removed while it was paused")
        elif held.pause.lost and (reading.state == "paused" or self._now < held.settled):
            self._lost(held, reading)
        elif not _same_run(held.pause, reading):
            self._drop(held, Outcome.LOST, "that run of it has ended while it was paused")
        elif reading.state == "paused":
            self._paused(held)
        else:
            self._runs(held)

    def _lost(self, held: PauseProgress, reading: ContainerReading) -> None:
        # The call goes by the container's id, so it may reach a later run of it: then that one is ours.
        if reading.state == "paused" and reading.started_at is not None:
            self._paused(replace(held, pause=replace(held.pause, started_at=reading.started_at)))

    def _paused(self, held: PauseProgress) -> None:
        if held.phase is Phase.CALLED:
            held = replace(held, phase=Phase.PAUSED)
            self._effects.append(Report(Outcome.PAUSED, held.pause, held.pause.reason))
        self._held[held.pause.id] = held = replace(held, pause=replace(held.pause, lost=False), seen=True)
        if held.phase is Phase.RELEASING:
            self._effects.append(Unpause(held))

    def _runs(self, held: PauseProgress) -> None:
        if held.phase is Phase.PAUSED:
            self._drop(
                held, Outcome.UNPAUSED, "somebody else resumed it; it is left alone until the request ends"
            )
            self._alone[held.pause.id] = held.pause.name
        elif held.seen:
            self._drop(held, Outcome.UNPAUSED, held.over)
        elif self._now >= held.settled:
            self._drop(held)

    def _drop(self, held: PauseProgress, outcome: Outcome | None = None, reason: str = "") -> None:
        del self._held[held.pause.id]
        if held.called:
            self._rested[held.pause.id] = self._now + self._settings.rest
        if outcome is not None and held.seen:
            self._effects.append(Report(outcome, held.pause, reason, held.lasted(self._now)))

    def _over(self, held: PauseProgress) -> str:
        if self.closing:
            return self.closing
        if self._now >= held.until:
            return f"it was paused for {self._settings.longest:g} s, the longest that its clients may wait"
        return "" if held.pause.name in self._requested else "nobody asks for it any more"

    def obey(self, request: BackOffRequested, named: Mapping[str, ContainerReading | None]) -> None:
        """Begin to pause what ``request`` names and may be paused now."""
        for name in request.containers:
            if name not in named:
                if name not in self._missing:
                    self._missing |= {name}
                    self._effects.append(
                        Report(Outcome.MISSING, Pause("", name, 0.0, request.label, request.reason))
                    )
                continue
            reading = named[name]
            if reading is None or reading.state != "running" or reading.started_at is None:
                continue
            if reading.id in self._held or reading.id in self._alone or reading.id in self._rested:
                continue
            started, simulated = reading.started_at, self._observed.simulated
            pause = Pause(reading.id, name, started, request.label, request.reason, simulated)
            until = self._now + self._settings.longest
            self._held[reading.id] = PauseProgress(pause, since=self._now, until=until)
            self._effects.append(StartPause(self._held[reading.id]))


def _same_run(pause: Pause, reading: ContainerReading) -> bool:
    return reading.running and reading.started_at == pause.started_at


def resumed(state: PauseState, left: Iterable[Pause], now: float, settle: float) -> PauseState:
    """Return the state of a worker that begins, where an earlier one has ``left`` these pauses behind."""
    reason = "an earlier run of aiidpd left it paused"
    held = {
        pause.id: PauseProgress(
            pause,
            since=now,
            until=now,
            phase=Phase.RELEASING,
            called=True,
            settled=now + settle,
            over=reason,
            inherited=True,
        )
        for pause in left
    }
    return replace(state, held=MappingProxyType(held))


def not_written(state: PauseState, identity: str, now: float) -> PauseState:
    """Return the state where the pause of ``identity`` could not be written down: it is not begun."""
    return _dropping(state, identity, now + RETRY)


def calling(state: PauseState, identity: str, now: float, settle: float) -> PauseState:
    """Return the state while the runtime is called to pause ``identity``: from here on it may be paused."""
    held = replace(state.held[identity], phase=Phase.CALLED, called=True, settled=now + settle)
    return _with_pause(state, held)


def paused(state: PauseState, identity: str, *, ours: bool) -> tuple[PauseState, tuple[Report, ...]]:
    """Return the state after the runtime's answer: this call has paused it, or (not ``ours``) has not."""
    held = state.held[identity]
    if not ours:
        return _dropping(state, identity), ()
    held = replace(held, phase=Phase.PAUSED, seen=True, settled=-inf)
    return _with_pause(state, held), (Report(Outcome.PAUSED, held.pause, held.pause.reason),)


def unpaused(
    state: PauseState, identity: str, now: float, rest: float
) -> tuple[PauseState, tuple[Report, ...]]:
    """Return the state after the runtime's answer that ``identity`` is not paused (any more)."""
    held = state.held[identity]
    report = Report(Outcome.UNPAUSED, held.pause, held.over, held.lasted(now))
    return _dropping(state, identity, now + rest), (report,)


def failed(
    state: PauseState, identity: str, problem: str, now: float, settle: float
) -> tuple[PauseState, tuple[Report, ...]]:
    """Return the state after a call about ``identity`` failed with ``problem``; it may yet be carried out."""
    held = state.held[identity]
    releasing = held.phase is Phase.RELEASING
    outcome = Outcome.NOT_UNPAUSED if releasing else Outcome.NOT_PAUSED
    reports = () if held.troubled else (Report(outcome, held.pause, problem),)
    held = replace(held, troubled=True)
    if not releasing:
        held = replace(held, pause=replace(held.pause, lost=True), settled=now + settle)
    return _with_pause(state, held), reports


def _with_pause(state: PauseState, held: PauseProgress) -> PauseState:
    return replace(state, held=MappingProxyType({**state.held, held.pause.id: held}))


def _dropping(state: PauseState, identity: str, rested: float | None = None) -> PauseState:
    left = {key: held for key, held in state.held.items() if key != identity}
    rests = dict(state.rested) if rested is None else {**state.rested, identity: rested}
    return replace(state, held=MappingProxyType(left), rested=MappingProxyType(rests))
