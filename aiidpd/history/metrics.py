"""Figures of the history itself in the exposition."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.history.store import HistoryStats
from aiidpd.telemetry.family import CounterFamily, GaugeFamily


class HistoryCollector(Collector):
    """Yields what :class:`HistoryStats` holds; touches no disk."""

    def __init__(self, stats: Callable[[], HistoryStats]) -> None:
        self._stats = stats

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        stats = self._stats()
        yield GaugeFamily(
            "aiidpd_history_writable",
            "Whether the last write of the history succeeded.",
            value=stats.problem is None,
        )
        yield GaugeFamily(
            "aiidpd_history_size_bytes",
            "Size of the history on disk, its write-ahead log included.",
            value=stats.bytes,
        )
        yield GaugeFamily(
            "aiidpd_history_pending_rows",
            "Rows recorded and not yet on disk.",
            value=stats.pending,
        )
        written = CounterFamily(
            "aiidpd_history_rows_written", "Rows written to the history.", labels=["table"]
        )
        written.add_metric(["event"], stats.written_events)
        written.add_metric(["sample"], stats.written_samples)
        yield written
        dropped = CounterFamily(
            "aiidpd_history_rows_dropped",
            "Rows lost because the disk took none and memory is bounded.",
            labels=["table"],
        )
        dropped.add_metric(["event"], stats.dropped_events)
        dropped.add_metric(["sample"], stats.dropped_samples)
        yield dropped
