"""Explicit registry: every collector behind a guard, so that one that fails costs only its own series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from aiidpd.telemetry.encoder import Encoder
from aiidpd.telemetry.family import GaugeFamily

OnError = Callable[[str, Exception], None]


class Registry(CollectorRegistry):
    """A registry that writes its own page; made by :func:`build_registry`."""

    def __init__(self, guard: SafeCollector) -> None:
        super().__init__()
        self.register(guard)
        self._guard = guard

    def page(self, *, openmetrics: bool) -> bytes:
        """Return all families as text 0.0.4, or as OpenMetrics 1.0."""
        pieces = [text for _, text in self._guard.encoded(openmetrics=openmetrics)]
        if openmetrics:
            pieces.append("# EOF\n")
        return "".join(pieces).encode()


def build_registry(
    collectors: Mapping[str, Collector], on_error: OnError = lambda _name, _error: None
) -> Registry:
    """Return a registry of ``collectors``; each key names its collector in the metrics.

    ``on_error`` is called with name and error when a collector begins to fail, not at every scrape.
    """
    return Registry(SafeCollector(collectors, on_error))


class SafeCollector(Collector):
    """Collects from each collector in turn and reports which of them failed.

    A collector that raises, yields a family that another one yielded, or yields what can't be written
    as text, is left out of this scrape whole: half of a collector's series would read as truth.
    """

    def __init__(self, collectors: Mapping[str, Collector], on_error: OnError) -> None:
        self._collectors = dict(collectors)
        self._on_error = on_error
        self._failing: set[str] = set()
        self._encoder = Encoder()

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        for families, _ in self.encoded(openmetrics=False):
            yield from families

    def encoded(self, *, openmetrics: bool) -> Iterator[tuple[Sequence[Metric], str]]:
        """Yield the families of one collector after the other, and their lines."""
        success = GaugeFamily(
            "aiidpd_scrape_collector_success",
            "Whether the collector gave its metrics to this scrape.",
            labels=["collector"],
        )
        taken = {success.name}
        for name, collector in self._collectors.items():
            try:
                families = list(collector.collect())
                _refuse_doubled(families, taken)
                text = "".join([self._encoder.encode(family, openmetrics=openmetrics) for family in families])
            except Exception as error:  # noqa: BLE001 -- whatever it is, the scrape continues without it
                success.add_metric([name], 0)
                self._fail(name, error)
                continue
            success.add_metric([name], 1)
            self._failing.discard(name)
            taken.update(family.name for family in families)
            yield families, text
        yield [success], self._encoder.encode(success, openmetrics=openmetrics)
        self._encoder.forget()

    def _fail(self, name: str, error: Exception) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self._on_error(name, error)


def _refuse_doubled(families: Sequence[Metric], taken: set[str]) -> None:
    names = [family.name for family in families]
    if doubled := {name for name in names if name in taken or names.count(name) > 1}:
        raise ValueError(f"metric families given twice: {', '.join(sorted(doubled))}")
