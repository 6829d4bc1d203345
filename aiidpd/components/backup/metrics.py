"""Figures of backups for Prometheus, from its last view only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.backup.view import BackupView, RunResult, StoreInfo, newest
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
        yield _gauge("running", "Whether a backup runs now (1) or not (0).", _runs(view))
        yield from _counts(view)
        for name, at, what in (
            (
                "last_success",
                view.last_success_at,
                "the newest whole snapshot was last found to be as the source",
            ),
            ("last_verification", view.last_verified_at, "a verification last ended"),
            ("last_proven_restore", view.last_restored_at, "a restore was last proven to work"),
            ("next_run", view.next_run_at, "the next scheduled backup is due"),
        ):
            if at is not None:
                yield _gauge(f"{name}_timestamp_seconds", f"When {what}, in Unix seconds.", at)
        if view.store is not None:
            yield from _store(view.store)
        if view.last_run is not None:
            yield from _last_run(view.last_run)
        whole = newest(view.snapshots, view.source)
        if whole is not None:
            yield _gauge("snapshot_files", "Files in the newest whole snapshot.", whole.files)
            yield _gauge("snapshot_size_bytes", "Bytes in the newest whole snapshot.", whole.bytes)
            what = "Files of the source that are not in the newest whole snapshot, or not as they are."
            yield _gauge("snapshot_left_out_files", what, whole.left_out)


def _runs(view: BackupView) -> bool:
    return view.running is not None and view.running.work == "run"


def _counts(view: BackupView) -> Iterator[Metric]:
    counts = GaugeFamily(
        _PREFIX + "snapshots", "Snapshots on the target, whole and broken.", labels=["state"]
    )
    broken = sum(bool(snapshot.broken) for snapshot in view.snapshots)
    counts.add_metric(["whole"], len(view.snapshots) - broken)
    counts.add_metric(["broken"], broken)
    yield counts


def _store(store: StoreInfo) -> Iterator[Metric]:
    yield _gauge(
        "stored_bytes", "Bytes of all contents on the target, each counted once.", store.unique_bytes
    )
    yield _gauge("unproven_bytes", "Bytes on the target that were never read back.", store.unverified_bytes)
    if store.oldest_proof is not None:
        what = "When the content was last read back that was not since longest, in Unix seconds."
        yield _gauge("oldest_proof_timestamp_seconds", what, store.oldest_proof)
    yield _gauge("damaged_contents", "Contents that were not as written when last read.", store.damaged)
    what = (
        "Files of the source that read otherwise than they were backed up, though nothing has changed them."
    )
    yield _gauge("rotten_source_files", what, store.rotten_total)
    yield _gauge("target_free_bytes", "Free bytes of the target's file system.", store.free)


def _last_run(last: RunResult) -> Iterator[Metric]:
    yield _gauge("last_run_success", "Whether the last run succeeded (1) or failed (0).", last.succeeded)
    yield _gauge("last_run_timestamp_seconds", "When the last run ended, in Unix seconds.", last.ended_at)
    yield _gauge("last_run_duration_seconds", "How long the last run took.", last.seconds)
    if last.succeeded:
        yield _gauge("last_run_copied_files", "Files that the last run copied.", last.copied_files)
        yield _gauge("last_run_copied_bytes", "Bytes that the last run copied.", last.copied_bytes)
        yield _gauge("last_run_linked_files", "Unchanged files that the last run linked.", last.linked_files)
        yield _gauge("last_run_linked_bytes", "Bytes in files that the last run linked.", last.linked_bytes)


def _gauge(name: str, documentation: str, value: float) -> GaugeFamily:
    return GaugeFamily(_PREFIX + name, documentation, value=float(value))
