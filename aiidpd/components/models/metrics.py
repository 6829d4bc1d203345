"""Metrics of models, from the last view alone. The models that have series of their own are bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.models.backed_up import BackupState
from aiidpd.components.models.signatures import SignatureState
from aiidpd.components.models.view import ModelsView, UpstreamState
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import GaugeFamily

MOST_MODELS: Final = 200
"""Models with series of their own, the largest: with more the sums say the rest."""
_MODEL: Final = ("model", "folder")


class ModelsCollector(Collector):
    """Builds the families of one scrape; reads nothing else."""

    def __init__(self, latest: Latest[ModelsView]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registration does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield one family a figure."""
        reading = self._latest.get()
        if reading is None:
            return
        view = reading.value
        yield from (family for family in (*_sums(view), *_folders(view), *_disks(view)) if family.points)
        yield from (family for family in _models(view) if family.points)


def _sums(view: ModelsView) -> Iterator[GaugeFamily]:
    yield GaugeFamily(
        "aiidpd_models_last_scan_timestamp_seconds",
        "When the last scan ended, in Unix seconds.",
        view.scanned_at,
    )
    yield GaugeFamily(
        "aiidpd_models_scan_duration_seconds", "How long the last scan took.", view.scan_seconds
    )
    yield GaugeFamily(
        "aiidpd_models_damaged",
        "Models with a problem that shows in their files.",
        float(sum(bool(model.problems) for model in view.models)),
    )
    backups = GaugeFamily("aiidpd_models_backup", "Models by the state of their backup.", labels=("state",))
    counts = Counter(model.backup for model in view.models)
    for state in BackupState:
        backups.add_metric((state.value,), counts[state])
    yield backups
    signatures = GaugeFamily(
        "aiidpd_models_signatures", "Models by the state of their signature.", labels=("state",)
    )
    states = Counter(model.signature.state for model in view.models)
    for signed in SignatureState:
        signatures.add_metric((signed.value,), states[signed])
    yield signatures
    yield GaugeFamily(
        "aiidpd_models_outdated",
        "Models of which the hub has a newer revision, as far as it was asked.",
        float(sum(model.upstream is UpstreamState.NEWER for model in view.models)),
    )
    yield GaugeFamily(
        "aiidpd_models_leftover_size_bytes",
        "Bytes of files that downloads left which never ended.",
        float(sum(each.size_bytes for each in view.leftovers)),
    )
    reclaimable = GaugeFamily(
        "aiidpd_models_reclaimable_size_bytes",
        "Bytes of files whose content is there once more, certain by SHA-256 or probable by samples.",
        labels=("certainty",),
    )
    for certain in (True, False):
        size = sum(each.reclaimable_bytes for each in view.duplicates if each.certain is certain)
        reclaimable.add_metric(("certain" if certain else "probable",), size)
    yield reclaimable


def _folders(view: ModelsView) -> Iterator[GaugeFamily]:
    count = GaugeFamily("aiidpd_models_found", "Models in a folder.", labels=("folder",))
    size = GaugeFamily(
        "aiidpd_models_folder_size_bytes",
        "Bytes of the models in a folder, each payload once.",
        labels=("folder",),
    )
    found = GaugeFamily(
        "aiidpd_models_folder_searched",
        "1 where the last scan read the folder wholly, else 0.",
        labels=("folder",),
    )
    for folder in view.folders:
        count.add_metric((folder.path,), folder.models)
        size.add_metric((folder.path,), folder.size_bytes)
        found.add_metric((folder.path,), float(folder.found and folder.complete))
    yield from (count, size, found)


def _disks(view: ModelsView) -> Iterator[GaugeFamily]:
    free = GaugeFamily(
        "aiidpd_models_disk_free_bytes", "Free bytes of a file system with models.", labels=("mount",)
    )
    total = GaugeFamily(
        "aiidpd_models_disk_size_bytes", "Size of a file system with models.", labels=("mount",)
    )
    full = GaugeFamily(
        "aiidpd_models_disk_full_timestamp_seconds",
        "When a file system with models will be full by its trend, in Unix seconds.",
        labels=("mount",),
    )
    for disk in view.disks:
        free.add_metric((disk.mount,), disk.free_bytes)
        total.add_metric((disk.mount,), disk.total_bytes)
        if disk.full_at is not None:
            full.add_metric((disk.mount,), disk.full_at)
    yield from (free, total, full)


def _models(view: ModelsView) -> Iterator[GaugeFamily]:
    size = GaugeFamily(
        "aiidpd_model_size_bytes", "Bytes of a model's files, each payload once.", labels=_MODEL
    )
    problems = GaugeFamily("aiidpd_model_problems", "Problems that show in a model's files.", labels=_MODEL)
    used = GaugeFamily(
        "aiidpd_model_last_used_timestamp_seconds",
        "When an engine was last seen to have the model, or a process a file of it open, in Unix seconds.",
        labels=_MODEL,
    )
    read = GaugeFamily(
        "aiidpd_model_last_verified_timestamp_seconds",
        "Since when all files of the model were read whole and found right, in Unix seconds.",
        labels=_MODEL,
    )
    saved = GaugeFamily(
        "aiidpd_model_last_backup_timestamp_seconds",
        "When the model was last seen to be as its backup has it, in Unix seconds.",
        labels=_MODEL,
    )
    seen: set[tuple[str, str]] = set()
    for model in sorted(view.models, key=lambda each: -each.size_bytes)[:MOST_MODELS]:
        labels = (model.label, model.folder)
        if labels in seen:
            continue
        seen.add(labels)
        size.add_metric(labels, model.size_bytes)
        problems.add_metric(labels, len(model.problems))
        for family, at in ((used, model.last_used_at), (read, model.read_at), (saved, model.backed_up_at)):
            if at is not None:
                family.add_metric(labels, at)
    yield from (size, problems, used, read, saved)
