"""Figures of backups for Prometheus, from its last view only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.backup.view import BackupView, RunResult, newest
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import GaugeFamily

_PREFIX = "aiidpd_backup_"


class BackupCollector(Collector):
    """Yields fresh metrics at each scrape; what is not known is left out."""

    def __init__(self, latest: Latest[BackupView]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is None:
            return
        view = reading.value
        yield _gauge("configured", "Whether a source and a target are set (1) or not (0).", view.configured)
        if not view.configured:
            return
        yield _gauge("running", "Whether a backup runs now (1) or not (0).", view.running is not None)
        counts = GaugeFamily(
            _PREFIX + "snapshots", "Snapshots on the target, whole and broken.", labels=["state"]
        )
        broken = sum(bool(snapshot.broken) for snapshot in view.snapshots)
        counts.add_metric(["whole"], len(view.snapshots) - broken)
        counts.add_metric(["broken"], broken)
        yield counts
        if view.last_success_at is not None:
            what = "When the newest whole snapshot was verified, in Unix seconds."
            yield _gauge("last_success_timestamp_seconds", what, view.last_success_at)
        if view.next_run_at is not None:
            what = "When the next scheduled backup is due, in Unix seconds."
            yield _gauge("next_run_timestamp_seconds", what, view.next_run_at)
        if view.last_run is not None:
            yield from _last_run(view.last_run)
        whole = newest(view.snapshots, view.source)
        if whole is not None:
            yield _gauge("snapshot_files", "Files in the newest whole snapshot.", whole.files)
            yield _gauge("snapshot_size_bytes", "Bytes in the newest whole snapshot.", whole.bytes)


def _last_run(last: RunResult) -> Iterator[Metric]:
    yield _gauge("last_run_success", "Whether the last run succeeded (1) or failed (0).", last.succeeded)
    yield _gauge("last_run_timestamp_seconds", "When the last run ended, in Unix seconds.", last.ended_at)
    yield _gauge("last_run_duration_seconds", "How long the last run took.", last.seconds)
    if last.succeeded:
        yield _gauge(
            "last_run_copied_files", "Files that the last run copied and verified.", last.copied_files
        )
        yield _gauge(
            "last_run_copied_bytes", "Bytes that the last run copied and verified.", last.copied_bytes
        )
        yield _gauge("last_run_linked_files", "Unchanged files that the last run linked.", last.linked_files)
        yield _gauge("last_run_linked_bytes", "Bytes in files that the last run linked.", last.linked_bytes)


def _gauge(name: str, documentation: str, value: float) -> GaugeFamily:
    return GaugeFamily(_PREFIX + name, documentation, value=float(value))
