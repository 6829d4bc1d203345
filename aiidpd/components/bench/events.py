"""Events and samples of measurements: an event a probe, and its figures as samples."""

from __future__ import annotations

from typing import Final

from aiidpd.components.bench.stats import BenchSample
from aiidpd.components.bench.summary import figures, summary
from aiidpd.components.bench.view import EndpointView
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Event, Sample, Scalar, Severity

_SOURCE: Final = "bench"
_SERIES = ("ttft_seconds", "time_per_output_token_seconds", "output_tokens_per_second", "total_seconds")


class BenchPublisher:
    """Tells each probe once, as it ended."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    def failed(self, view: EndpointView) -> None:
        """Tell that the last probe failed."""
        self._publish("bench.failed", view, Severity.WARNING, view.error, {"model": view.model})

    def measured(self, view: EndpointView, sample: BenchSample) -> None:
        """Tell what the last probe measured."""
        self._publish("bench.measured", view, Severity.INFO, summary(sample), figures(sample))
        at = self._clock.time()
        for series in _SERIES:
            value: float | None = getattr(sample, series)
            if value is not None:
                self._bus.sample(Sample(at, _SOURCE, series, view.name, value, view.simulated))

    def _publish(
        self, kind: str, view: EndpointView, severity: Severity, reason: str, evidence: dict[str, Scalar]
    ) -> None:
        self._bus.publish(
            Event(
                time=self._clock.time(),
                source=_SOURCE,
                kind=kind,
                reason=reason,
                subject=view.name,
                severity=severity,
                evidence=evidence,
                simulated=view.simulated,
            )
        )
