"""Figures of the repositories for Prometheus, from the last view only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.backup.offsite.view import OffsiteView, RepositoryView
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import GaugeFamily

_LABELS = ("repository", "engine")

_Views = tuple[RepositoryView, ...]


class OffsiteCollector(Collector):
    """Yields fresh metrics at each scrape; what is not known is left out."""

    def __init__(self, latest: Latest[OffsiteView]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is not None and reading.value.repositories:
            yield from _of_runs(reading.value.repositories)
            yield from _of_verifications(reading.value.repositories)


def _of_runs(views: _Views) -> Iterator[Metric]:
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_running",
            "Whether something runs with the repository now (1) or not (0).",
            labels=_LABELS,
        ),
        views,
        lambda each: float(each.running is not None),
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_failures",
            "Failed runs with the repository since its last success.",
            labels=_LABELS,
        ),
        views,
        lambda each: float(each.record.failures),
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_overdue",
            "Whether the last success is longer ago than overdue_after (1) or not (0).",
            labels=_LABELS,
        ),
        views,
        lambda each: float(each.overdue),
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_last_success_timestamp_seconds",
            "When a snapshot had last been sent whole, in Unix seconds.",
            labels=_LABELS,
        ),
        views,
        lambda each: each.record.succeeded_at or None,
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_last_run_duration_seconds",
            "How long the last snapshot took to be sent.",
            labels=_LABELS,
        ),
        views,
        lambda each: each.record.seconds if each.record.succeeded_at else None,
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_last_run_new_bytes",
            "Bytes that the last snapshot added to the repository.",
            labels=_LABELS,
        ),
        views,
        lambda each: float(each.record.new_bytes) if each.record.succeeded_at else None,
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_snapshot_size_bytes",
            "Bytes in the snapshot that was sent last.",
            labels=_LABELS,
        ),
        views,
        lambda each: float(each.record.bytes) if each.record.succeeded_at else None,
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_next_run_timestamp_seconds",
            "When the next run is due, in Unix seconds.",
            labels=_LABELS,
        ),
        views,
        lambda each: each.next_run_at,
    )


def _of_verifications(views: _Views) -> Iterator[Metric]:
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_damaged",
            "Whether a verification found damage that lasts (1) or not (0).",
            labels=_LABELS,
        ),
        views,
        lambda each: float(bool(each.record.damage)),
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_last_verified_timestamp_seconds",
            "When a verification last found all well, in Unix seconds.",
            labels=_LABELS,
        ),
        views,
        lambda each: each.record.verified_at or None,
    )
    yield _filled(
        GaugeFamily(
            "aiidpd_backup_offsite_covered_timestamp_seconds",
            "Since when every part of the repository was read back, in Unix seconds.",
            labels=_LABELS,
        ),
        views,
        lambda each: each.record.covered_at or None,
    )


def _filled(
    family: GaugeFamily, views: _Views, read: Callable[[RepositoryView], float | None]
) -> GaugeFamily:
    for each in views:
        value = read(each)
        if value is not None:
            family.add_metric([each.record.name, each.engine], value)
    return family
