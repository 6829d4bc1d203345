"""Which containers are asked to leave a GPU alone, by whom and until when (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.contracts.messages import BACK_OFF, BACK_OFF_ENDED, hold_seconds, named
from aiidpd.kernel.events import Event


@dataclass(frozen=True, slots=True)
class BackOffRequest:
    """One GPU's ask to the containers of ``names``; it holds until the monotonic second ``until``.

    ``gpu`` is how people call it, such as ``GPU 0``. ``simulated`` is whether its heat is made up.
    """

    gpu: str
    names: tuple[str, ...]
    reason: str
    until: float
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class BackOffRequests:
    """The last ask about each GPU, by its UUID."""

    by_gpu: Mapping[str, BackOffRequest] = field(default_factory=lambda: MappingProxyType({}))

    def hear(self, event: Event, now: float) -> BackOffRequests:
        """Return the asks after ``event``; one that is about something else changes nothing."""
        if event.kind not in (BACK_OFF, BACK_OFF_ENDED):
            return self
        asks = {uuid: ask for uuid, ask in self.by_gpu.items() if uuid != event.subject}
        if event.kind == BACK_OFF:
            index = event.evidence.get("gpu")
            asks[event.subject] = BackOffRequest(
                gpu=f"GPU {event.subject if index is None else index}",
                names=named(event),
                reason=event.reason,
                until=now + hold_seconds(event),
                simulated=event.simulated,
            )
        return BackOffRequests(MappingProxyType(asks))

    def standing(self, now: float, *, simulated: bool) -> tuple[BackOffRequest, ...]:
        """Return the asks that hold and name somebody.

        Heat that is made up is no reason to pause what is not: it counts where the containers are
        ``simulated`` too.
        """
        return tuple(
            ask
            for ask in self.by_gpu.values()
            if now < ask.until and ask.names and (simulated or not ask.simulated)
        )
