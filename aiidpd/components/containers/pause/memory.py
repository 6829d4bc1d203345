"""The part of the pause controller that outlives its runs: pauses, requests in force, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio

from aiidpd.components.containers.pause.state import PauseState
from aiidpd.contracts.backoff import BackOffs
from aiidpd.contracts.messages import BackOffMessage, BackOffRequested
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.inbox import Inbox


@dataclass(slots=True)
class PauseTally:
    """What was done over all runs, by the container's name."""

    pauses: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseView:
    """A container that is paused by us, since and until at most when in Unix seconds."""

    id: str
    name: str
    gpu: str
    reason: str
    since: float
    until: float


class PauseMemory:
    """The state, and what it looks like from outside; the requests in force come by ``inbox``."""

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

    def back_offs(self, *, simulated: bool) -> tuple[BackOffRequested, ...]:
        """Return the requests that are in force now, to containers that are or are not ``simulated``."""
        # Heat that is made up is no reason to pause what is not.
        return tuple(
            request
            for request in self._back_offs.active(self._clock.monotonic())
            if request.containers and (simulated or not request.simulated)
        )

    def holds(self, identity: str) -> bool:
        """Whether the container whose id begins with ``identity`` is paused by us, or may be."""
        return any(key.startswith(identity) for key, held in self.state.held.items() if held.asked)

    def standing(self) -> Iterator[PauseView]:
        """Yield the pauses that are known to hold."""
        offset = self._clock.time() - self._clock.monotonic()
        for held in self.state.held.values():
            if held.seen:
                pause = held.pause
                since, until = held.since + offset, held.until + offset
                yield PauseView(pause.id, pause.name, pause.gpu, pause.reason, since, until)
