"""Whether somebody asks us to leave a GPU alone (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.kernel.events import Event

ASKED: Final = "gpu.back_off"
ENDED: Final = "gpu.back_off_ended"
_LONGEST = 3600.0
_DEFAULT = 600.0


@dataclass(frozen=True, slots=True)
class Asks:
    """The asks that hold, each until a monotonic second, by the GPU that they are about."""

    until: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def hear(self, event: Event, now: float) -> Asks:
        """Return the asks after ``event``; one that is about something else changes nothing.

        An ask holds for its evidence ``hold_seconds``, an hour at most: whoever asked may be gone.
        """
        if event.kind == ASKED:
            seconds = event.evidence.get("hold_seconds")
            known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            hold = min(_LONGEST, float(seconds)) if known and seconds is not None else _DEFAULT
            return Asks(MappingProxyType({**self.until, event.subject: now + hold}))
        if event.kind == ENDED:
            left = {subject: until for subject, until in self.until.items() if subject != event.subject}
            return Asks(MappingProxyType(left))
        return self

    def hold(self, now: float) -> bool:
        """Whether any ask holds."""
        return any(now < until for until in self.until.values())
