"""The explicit registry: every collector behind a guard, so that one that fails costs only its own series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

OnError = Callable[[str, Exception], None]


def build_registry(
    collectors: Mapping[str, Collector], on_error: OnError = lambda _name, _error: None
) -> CollectorRegistry:
    """Return a registry of ``collectors``; each key names its collector in the metrics.

    ``on_error`` is called with name and error when a collector begins to fail, not at every scrape.
    """
    registry = CollectorRegistry()
    registry.register(SafeCollector(collectors, on_error))
    return registry


class SafeCollector(Collector):
    """Collects from each collector in turn and says which of them failed.

    A collector that raises, yields a family that another one yielded, or yields what can't be written
    as text, is left out of this scrape whole: half of a collector's series would read as truth.
    """

    def __init__(self, collectors: Mapping[str, Collector], on_error: OnError) -> None:
        self._collectors = dict(collectors)
        self._on_error = on_error
        self._failing: set[str] = set()

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        success = GaugeMetricFamily(
            "aiidpd_scrape_collector_success",
            "Whether the collector gave its metrics to this scrape.",
            labels=["collector"],
        )
        taken = {success.name}
        for name, collector in self._collectors.items():
            try:
                families = list(collector.collect())
                _check(families, taken)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the scrape goes on without it
                success.add_metric([name], 0)
                self._fail(name, error)
                continue
            success.add_metric([name], 1)
            self._failing.discard(name)
            taken.update(family.name for family in families)
            yield from families
        yield success

    def _fail(self, name: str, error: Exception) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self._on_error(name, error)


def _check(families: Sequence[Metric], taken: set[str]) -> None:
    names = [family.name for family in families]
    if doubled := {name for name in names if name in taken or names.count(name) > 1}:
        raise ValueError(f"metric families given twice: {', '.join(sorted(doubled))}")
    for family in families:
        seen = set()
        for sample in family.samples:
            float(sample.value)
            labels = tuple(sample.labels.items())
            key = (sample.name, labels)
            if key in seen:
                raise ValueError(f"series given twice: {sample.name}{sample.labels}")
            seen.add(key)
            for label, value in labels:
                if not isinstance(value, str):
                    raise TypeError(f"{sample.name}: label {label} is {value!r}, not text")
                if not value.isascii():
                    value.encode()  # a lone surrogate would fail the whole page
