"""Figures of the repositories for Prometheus, from the last view only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.backup.offsite.view import OffsiteView, RepositoryView
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import GaugeFamily

_PREFIX: Final = "aiidpd_backup_offsite_"

_Read = Callable[[RepositoryView], float | None]


def _or_none(value: float) -> float | None:
    return value or None


_FAMILIES: Final[tuple[tuple[str, str, _Read], ...]] = (
    (
        "running",
        "Whether something runs with the repository now (1) or not (0).",
        lambda each: float(each.running is not None),
    ),
    (
        "failures",
        "Failed runs with the repository since its last success.",
        lambda each: float(each.record.failures),
    ),
    (
        "damaged",
        "Whether a verification found damage that lasts (1) or not (0).",
        lambda each: float(bool(each.record.damage)),
    ),
    (
        "overdue",
        "Whether the last success is longer ago than overdue_after (1) or not (0).",
        lambda each: float(each.overdue),
    ),
    (
        "last_success_timestamp_seconds",
        "When a snapshot had last been sent whole, in Unix seconds.",
        lambda each: _or_none(each.record.succeeded_at),
    ),
    (
        "last_run_duration_seconds",
        "How long the last snapshot took to be sent.",
        lambda each: each.record.seconds if each.record.succeeded_at else None,
    ),
    (
        "last_run_new_bytes",
        "Bytes that the last snapshot added to the repository.",
        lambda each: float(each.record.new_bytes) if each.record.succeeded_at else None,
    ),
    (
        "snapshot_size_bytes",
        "Bytes in the snapshot that was sent last.",
        lambda each: float(each.record.bytes) if each.record.succeeded_at else None,
    ),
    (
        "last_verified_timestamp_seconds",
        "When a verification last found all well, in Unix seconds.",
        lambda each: _or_none(each.record.verified_at),
    ),
    (
        "covered_timestamp_seconds",
        "Since when every part of the repository was read back, in Unix seconds.",
        lambda each: _or_none(each.record.covered_at),
    ),
    (
        "next_run_timestamp_seconds",
        "When the next run is due, in Unix seconds.",
        lambda each: each.next_run_at,
    ),
)


class OffsiteCollector(Collector):
    """Yields fresh metrics at each scrape; what is not known is left out."""

    def __init__(self, latest: Latest[OffsiteView]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is None or not reading.value.repositories:
            return
        for name, documentation, read in _FAMILIES:
            family = GaugeFamily(_PREFIX + name, documentation, labels=["repository", "engine"])
            for each in reading.value.repositories:
                value = read(each)
                if value is not None:
                    family.add_metric([each.record.name, each.engine], value)
            yield family
