"""Conditions of models: damage, signatures, leftovers of downloads, missing folders, disks that fill up."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.signatures import SignatureState
from aiidpd.components.models.view import LeftoverInfo, ModelsView, SignatureInfo
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity

SOURCE: Final = "models"
DAMAGED: Final = "model_damaged"
CONTENT: Final = "model_content_wrong"
LEFTOVERS: Final = "model_leftovers"
FOLDER: Final = "models_folder_missing"
DISK: Final = "models_disk_full_soon"
SIGNATURE: Final = "model_signature_wrong"
STATE: Final = "models_state"
_OF_A_VIEW: Final = (DAMAGED, CONTENT, SIGNATURE, LEFTOVERS, FOLDER, DISK)
_MOST: Final = 50
_GIB: Final = 2**30


def update_conditions(conditions: Conditions, view: ModelsView, settings: ModelsSettings, now: float) -> None:
    """Have the conditions that ``view`` shows at ``now`` (Unix seconds), and no others."""
    found = [
        *_damaged(view),
        *_signatures(view),
        *_leftovers(view, now - settings.leftover_age, now),
        *_folders(view),
        *_disks(view, now + settings.disk_warning),
    ]
    conditions.update(_OF_A_VIEW, found)


def update_state(conditions: Conditions, path: str, problem: str) -> None:
    """Have a condition while the state at ``path`` has a ``problem``."""
    if not problem:
        conditions.clear(STATE, path)
        return
    reason = f"hashes, uses and trends of models don't outlive the daemon: {problem}"
    remedy = "see whether the disk is full or read-only"
    conditions.set(Condition(STATE, path, Severity.WARNING, reason, remedy, source=SOURCE))


def _damaged(view: ModelsView) -> Iterator[Condition]:
    for model in [each for each in view.models if each.problems][:_MOST]:
        wrong = [each for each in model.problems if each.damage == "hash"]
        first = (wrong or model.problems)[0]
        more = f", and {len(model.problems) - 1} more problems" if len(model.problems) > 1 else ""
        reason = f"{first.path} of {model.label}: {first.reason}{more}"
        subject = f"{model.label} in {model.root}"
        if wrong:
            remedy = "restore it from a backup, or download it again; then `aiidpctl models verify` it"
            yield Condition(CONTENT, subject, Severity.ERROR, reason, remedy, source=SOURCE)
        else:
            remedy = "`aiidpctl models show` lists all problems; delete the model where nobody needs it"
            yield Condition(DAMAGED, subject, Severity.WARNING, reason, remedy, source=SOURCE)


def _signatures(view: ModelsView) -> Iterator[Condition]:
    for model in [each for each in view.models if each.signature.wrong][:_MOST]:
        subject = f"{model.label} in {model.root}"
        reason = f"{model.label}: {wrong_signature(model.signature)}"
        remedy = (
            "download the model again from whoever signed it; then `aiidpctl models verify` it. Where the "
            "change is yours, sign it again or remove the signature"
        )
        if model.signature.state is not SignatureState.INVALID:
            remedy = "get its signature, or correct models.signers; then `aiidpctl models verify` it"
        yield Condition(SIGNATURE, subject, Severity.ERROR, reason, remedy, source=SOURCE)


def wrong_signature(signature: SignatureInfo) -> str:
    """Return what is wrong with ``signature``, as a sentence."""
    if signature.state is SignatureState.INVALID:
        by = f" by {signature.signer}" if signature.signer else ""
        return f"its signature{by} is invalid: {signature.reason}"
    if signature.state is SignatureState.NONE:
        return "it has no signature, and models.signers names it"
    return f"its signature is not of a signer that is trusted for it: {signature.reason}"


def _leftovers(view: ModelsView, before: float, now: float) -> Iterator[Condition]:
    old: defaultdict[str, list[LeftoverInfo]] = defaultdict(list)
    for each in view.leftovers:
        if each.changed_at < before:
            old[each.folder].append(each)
    for folder, files in list(old.items())[:_MOST]:
        size = sum(each.size_bytes for each in files) / _GIB
        days = (now - min(each.changed_at for each in files)) / 86400
        what = "1 file of a download" if len(files) == 1 else f"{len(files)} files of downloads"
        reason = f"{what} that never ended: {size:.1f} GiB, {days:.0f} d old, such as {files[0].path}"
        remedy = "download the models again, or delete these files"
        yield Condition(LEFTOVERS, folder, Severity.WARNING, reason, remedy, source=SOURCE)


def _folders(view: ModelsView) -> Iterator[Condition]:
    for folder in view.folders:
        if folder.configured and not folder.found:
            reason = f"the folder of models can't be searched: {folder.reason}"
            remedy = "mount or create it, let the daemon's user read it, or change models.folders"
            yield Condition(FOLDER, folder.path, Severity.WARNING, reason, remedy, source=SOURCE)


def _disks(view: ModelsView, before: float) -> Iterator[Condition]:
    for disk in view.disks:
        if disk.full_at is not None and disk.full_at < before:
            free, growth = disk.free_bytes / _GIB, (disk.growth_bytes_per_day or 0.0) / _GIB
            reason = (
                f"{disk.mount} will be full on {day(disk.full_at)}: {free:.1f} GiB are free now, and "
                f"{growth:.1f} GiB a day are added"
            )
            remedy = "`aiidpctl models usage` and `aiidpctl models duplicates` show what could go"
            yield Condition(DISK, disk.mount, Severity.WARNING, reason, remedy, source=SOURCE)


def day(at: float) -> str:
    """Return the local date of ``at`` (Unix seconds)."""
    return time.strftime("%Y-%m-%d", time.localtime(at))
