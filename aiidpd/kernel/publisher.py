"""Publisher: the way to an event or a sample for whatever belongs to one source."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Event, Sample, Scalar, Severity


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes on ``bus`` with the time, the source and the mark of simulated readings filled in.

    Each event and sample is of the moment in which it is published, or of ``time`` (Unix seconds).
    """

    bus: EventBus
    clock: Clock
    source: str
    simulated: bool = False
    time: float | None = None

    def marked(self, *, simulated: bool) -> Publisher:
        """Return a publisher that marks what it publishes as simulated, or as real."""
        return self if simulated == self.simulated else replace(self, simulated=simulated)

    def at(self, time: float) -> Publisher:
        """Return a publisher of what happened or was read at ``time`` (Unix seconds)."""
        return replace(self, time=time)

    def event(
        self,
        kind: str,
        reason: str,
        /,
        *,
        about: str = "",
        severity: Severity = Severity.INFO,
        **evidence: Scalar,
    ) -> Event:
        """Publish an event about the subject ``about``; return it with the number that it was given."""
        return self.bus.publish(
            Event(
                time=self._now(),
                source=self.source,
                kind=kind,
                reason=reason,
                subject=about,
                severity=severity,
                evidence=evidence,
                simulated=self.simulated,
            )
        )

    def effect(self, event: Event) -> Event:
        """Publish ``event``, which a pure step made, with this source and mark; return it with its number."""
        return self.bus.publish(replace(event, source=self.source, simulated=self.simulated))

    def sample(self, series: str, about: str, value: float) -> None:
        """Publish one reading of ``series``, whose name carries its unit."""
        self.bus.sample(Sample(self._now(), self.source, series, about, value, self.simulated))

    def _now(self) -> float:
        return self.clock.time() if self.time is None else self.time
