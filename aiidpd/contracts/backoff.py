"""Whether somebody asks us to leave a GPU alone (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.contracts.messages import BACK_OFF, BACK_OFF_ENDED, hold_seconds
from aiidpd.kernel.events import Event


@dataclass(frozen=True, slots=True)
class BackOffs:
    """The asks that hold, each until a monotonic second, by the GPU that they are about."""

    until: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def hear(self, event: Event, now: float) -> BackOffs:
        """Return the asks after ``event``; one that is about something else changes nothing."""
        if event.kind == BACK_OFF:
            return BackOffs(MappingProxyType({**self.until, event.subject: now + hold_seconds(event)}))
        if event.kind == BACK_OFF_ENDED:
            left = {subject: until for subject, until in self.until.items() if subject != event.subject}
            return BackOffs(MappingProxyType(left))
        return self

    def hold(self, now: float) -> bool:
        """Whether any ask holds."""
        return any(now < until for until in self.until.values())
