"""When a container is paused because a GPU is too hot, and when it goes on (pure).

A pause begins while a request is in force, and it always ends: with the request, after its longest time, with
the worker. Then the container runs for a while before it may be paused again, so that its clients get on,
however long a GPU stays hot. Five rules keep our hands off what is not ours:

- Only a container that runs is paused, and only a run (its start time tells it) that is held is let go on.
- It is held, which has it written down, before the engine is asked, and until a reading or an answer shows
  that it runs.
- A call whose answer was lost may still be carried out: so one that runs is held a while longer.
- Whoever lets a container go on before us is right: it is left alone until no request names it any more.
- Without a reading nothing is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from aiidpd.components.containers.pause.state import (
    Effect,
    Held,
    Observed,
    Outcome,
    Pause,
    PausePolicy,
    PauseState,
    Phase,
    Report,
    StartPause,
    Unpause,
)
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.messages import BackOffRequested


def step(
    state: PauseState,
    look: Observed,
    requests: Sequence[BackOffRequested],
    now: float,
    policy: PausePolicy,
    *,
    closing: str = "",
) -> tuple[PauseState, tuple[Effect, ...]]:
    """Return the state after ``look``, taken at monotonic second ``now``, and what is to be done.

    ``requests`` are those in force. ``closing`` is why everything is unpaused now and nothing more paused.
    What became of an effect is told by the functions of :mod:`.answers`, before the next step.
    """
    decision = _Decision(state, look, requests, now, policy)
    decision.closing = closing
    for held in state.held.values():
        decision.follow(held)
    if look.named is not None and not closing:
        for request in requests:
            decision.obey(request, look.named)
    return decision.close()


class _Decision:
    """One step at work: mutable only inside :func:`step`."""

    def __init__(
        self,
        state: PauseState,
        look: Observed,
        requests: Sequence[BackOffRequested],
        now: float,
        policy: PausePolicy,
    ) -> None:
        self.closing = ""
        self._requested = {name: request for request in reversed(requests) for name in request.containers}
        self._look = look
        self._now = now
        self._policy = policy
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

    def follow(self, held: Held) -> None:
        """Compare what is held with what the engine shows, and let go on what is over."""
        if held.phase is not Phase.RELEASING and (why := self._over(held)):
            held = replace(held, phase=Phase.RELEASING, over=why, troubled=False)
        self._held[held.pause.id] = held
        if not held.asked:
            if held.phase is Phase.RELEASING:
                self._drop(held)  # nothing was asked of the engine
            return
        if held.pause.id not in self._look.held:
            return
        reading = self._look.held[held.pause.id]
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

    def _lost(self, held: Held, reading: ContainerReading) -> None:
        # The call goes by the container's id, so it may reach a later run of it: then that one is ours.
        if reading.state == "paused" and reading.started_at is not None:
            self._paused(replace(held, pause=replace(held.pause, started_at=reading.started_at)))

    def _paused(self, held: Held) -> None:
        if held.phase is Phase.ASKED:
            held = replace(held, phase=Phase.PAUSED)
            self._effects.append(Report(Outcome.PAUSED, held.pause, held.pause.reason))
        self._held[held.pause.id] = held = replace(held, pause=replace(held.pause, lost=False), seen=True)
        if held.phase is Phase.RELEASING:
            self._effects.append(Unpause(held))

    def _runs(self, held: Held) -> None:
        if held.phase is Phase.PAUSED:
            self._drop(
                held, Outcome.UNPAUSED, "somebody else let it go on; it is left alone until the ask ends"
            )
            self._alone[held.pause.id] = held.pause.name
        elif held.seen:
            self._drop(held, Outcome.UNPAUSED, held.over)
        elif self._now >= held.settled:
            self._drop(held)

    def _drop(self, held: Held, word: Outcome | None = None, reason: str = "") -> None:
        del self._held[held.pause.id]
        if held.asked:
            self._rested[held.pause.id] = self._now + self._policy.rest
        if word is not None and held.seen:
            self._effects.append(Report(word, held.pause, reason, held.lasted(self._now)))

    def _over(self, held: Held) -> str:
        if self.closing:
            return self.closing
        if self._now >= held.until:
            return (
                f"it was paused for {self._policy.longest:g} s, the longest that its clients are kept waiting"
            )
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
            started, simulated = reading.started_at, self._look.simulated
            pause = Pause(reading.id, name, started, request.label, request.reason, simulated)
            until = self._now + self._policy.longest
            self._held[reading.id] = Held(pause, since=self._now, until=until)
            self._effects.append(StartPause(self._held[reading.id]))


def _same_run(pause: Pause, reading: ContainerReading) -> bool:
    return reading.running and reading.started_at == pause.started_at
