"""Registry: what a scan found, joined with all else that is known of each model (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiidpd.components.models.backed_up import backup_of, copy_of
from aiidpd.components.models.branches import branch_of
from aiidpd.components.models.disk import trend
from aiidpd.components.models.duplicates import Duplicate, find_duplicates
from aiidpd.components.models.record import HashRecord, ModelRecords, RevisionRecord
from aiidpd.components.models.scanned import Scan, ScannedFile, ScannedModel, shown
from aiidpd.components.models.signatures import (
    SignatureState,
    Signer,
    is_current,
    is_required,
    is_wrong,
    signers_for,
    trust_of,
)
from aiidpd.components.models.uses import ModelUse
from aiidpd.components.models.view import (
    CopyInfo,
    DiskInfo,
    DuplicateInfo,
    FileInfo,
    FolderInfo,
    LeftoverInfo,
    ModelDetails,
    ModelInfo,
    ModelsView,
    ProblemInfo,
    SignatureInfo,
    TypeInfo,
    UpstreamState,
    UseInfo,
    cleaned,
)
from aiidpd.contracts.backups import BackupCatalog
from aiidpd.formats.model_files import Algorithm, ModelFacts

MOST_DUPLICATES: Final = 1000
_NO_FACTS: Final = ModelFacts(format="")


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that a view is made of. ``source`` is the catalog's, links resolved."""

    scan: Scan
    records: ModelRecords
    uses: Mapping[str, tuple[ModelUse, ...]] = field(default_factory=dict)
    catalog: BackupCatalog | None = None
    source: str = ""
    signers: tuple[Signer, ...] = ()
    open_reason: str = ""
    scanned_at: float = 0.0


def hash_record(records: ModelRecords, file: ScannedFile) -> HashRecord | None:
    """Return what was read of ``file`` since it changed last, None where nothing was."""
    record = records.hashes.get(file.path)
    return record if record is not None and record.stamp == file.stamp else None


def sha256_of(known: Known, file: ScannedFile) -> tuple[str, str]:
    """Return the SHA-256 of ``file`` that is known, and whence; empty texts where none is."""
    record = hash_record(known.records, file)
    if record is not None and record.damaged:
        return "", ""
    if file.proof is not None and file.proof.algorithm is Algorithm.SHA256:
        return file.proof.hex, "cache"
    if known.catalog is not None and (copy := copy_of(file, known.catalog, known.source)):
        return copy.sha256, "backup"
    return (record.sha256, "reading") if record is not None and record.sha256 else ("", "")


def sample_of(known: Known, file: ScannedFile) -> str:
    """Return the sample of ``file`` that is known, or an empty text."""
    record = hash_record(known.records, file)
    return record.sample if record is not None else ""


def view(known: Known, now: float) -> ModelsView:
    """Return the view of everything that is known at ``now`` (Unix seconds)."""
    mounts = {folder.path: folder.mount for folder in known.scan.folders}
    details = {
        model.key: cleaned(_details(known, model, mounts.get(model.folder, "")))
        for model in known.scan.models
    }
    duplicates = find_duplicates(
        known.scan.models, lambda file: sha256_of(known, file)[0], lambda file: sample_of(known, file)
    )
    return ModelsView(
        models=tuple(each.model for each in details.values()),
        folders=cleaned(tuple(_folders(known.scan))),
        leftovers=tuple(
            LeftoverInfo(shown(each.path), shown(each.folder), each.size_bytes, each.changed_at)
            for each in known.scan.leftovers
        ),
        duplicates=cleaned(tuple(map(_duplicate, duplicates[:MOST_DUPLICATES]))),
        reclaimable_bytes=sum(each.reclaimable_bytes for each in duplicates),
        disks=tuple(_disks(known, now)),
        scanned_at=known.scanned_at,
        scan_seconds=known.scan.seconds,
        open_reason=known.open_reason,
        details=details,
    )


def _details(known: Known, scanned: ScannedModel, disk: str) -> ModelDetails:
    model, facts = scanned.model, scanned.model.facts or _NO_FACTS
    files = tuple(_file(known, file) for file in scanned.files)
    backup = backup_of(scanned, known.catalog, known.source)
    used = known.records.used.get(scanned.key)
    state, revision = upstream_of(scanned, known.records.revisions)
    read = [each.read_at for each in files]
    whole = files and all(each is not None for each in read) and not any(each.damaged for each in files)
    problems = [ProblemInfo(each.path, each.damage.value, each.reason) for each in model.problems]
    problems += [ProblemInfo(each.names[0], "hash", each.damaged) for each in files if each.damaged]
    info = ModelInfo(
        name=model.name,
        label=scanned.label,
        layout=model.layout.value,
        root=model.root,
        folder=scanned.folder,
        disk=disk,
        repository=model.repository,
        revision=model.revision,
        refs=model.refs,
        format=facts.format,
        architecture=facts.architecture,
        parameters=facts.parameters,
        active_parameters=facts.active_parameters,
        quantization=facts.quantization,
        context_length=facts.context_length,
        tensor_bytes=facts.tensor_bytes,
        size_bytes=sum(file.stamp.size_bytes for file in scanned.files),
        file_count=len(model.files),
        problems=tuple(problems),
        proven_bytes=sum(each.size_bytes for each in files if each.proof or each.sha256),
        read_at=min(each for each in read if each is not None) if whole else None,
        uses=tuple(
            UseInfo(each.kind, each.container, each.engine, each.pid, each.program)
            for each in known.uses.get(scanned.key, ())
        ),
        last_used_at=used.at if used else None,
        last_used_by=used.by if used else "",
        backup=backup.state,
        backed_up_at=backup.at,
        backup_reason=backup.reason,
        upstream=state,
        upstream_commit=revision.commit if revision else "",
        upstream_at=revision.at if revision else None,
        upstream_reason=revision.reason if revision else "",
        signature=signature_of(known, scanned),
    )
    types = tuple(TypeInfo(each.name, each.tensors, each.elements, each.bytes) for each in facts.types)
    return ModelDetails(model=info, types=types, files=files)


def signature_of(known: Known, model: ScannedModel) -> SignatureInfo:
    """Return what is known of the signature of ``model``."""
    found, record = model.signature, known.records.signature(model.key)
    required = is_required(known.signers, model)
    if found is None:
        return SignatureInfo(SignatureState.NONE, required, wrong=required)
    current = record is not None and is_current(record, model, trust_of(signers_for(known.signers, model)))
    state, signer, reason, at = SignatureState.UNVERIFIED, "", found.problem, None
    if record is not None and current:
        state, signer, reason, at = record.state, record.signer, record.reason, record.at
    elif record is not None:
        reason = reason or "files or signers changed since it was verified"
    return SignatureInfo(
        state=state,
        required=required,
        path=found.path,
        method=found.method,
        key_hint=found.key_hint,
        claimed_identity=found.identity,
        claimed_issuer=found.issuer,
        signer=signer,
        checked_at=at,
        reason=reason,
        wrong=is_wrong(state, required=required),
    )


def upstream_of(
    model: ScannedModel, revisions: Mapping[str, RevisionRecord]
) -> tuple[UpstreamState, RevisionRecord | None]:
    """Return how ``model`` compares with its branch on the hub, and the answer that says so."""
    branch = branch_of(model)
    if branch is None:
        return UpstreamState.NONE, None
    found = revisions.get("@".join(branch))
    if found is None or not found.commit:
        return UpstreamState.UNKNOWN, found
    return (UpstreamState.CURRENT if found.commit == model.model.revision else UpstreamState.NEWER), found


def _file(known: Known, file: ScannedFile) -> FileInfo:
    record = hash_record(known.records, file)
    sha256, source = sha256_of(known, file)
    backed_up = None if known.catalog is None else copy_of(file, known.catalog, known.source) is not None
    return FileInfo(
        path=file.path,
        names=file.names,
        size_bytes=file.stamp.size_bytes,
        proof=f"{file.proof.algorithm.value}:{file.proof.hex}" if file.proof else "",
        sha256=sha256,
        sha256_from=source,
        read_at=record.read_at if record else None,
        damaged=record.damaged if record else "",
        backed_up=backed_up,
    )


def _folders(scan: Scan) -> Iterable[FolderInfo]:
    counts = Counter(model.folder for model in scan.models)
    for folder in scan.folders:
        sizes = {
            file.identity: file.stamp.size_bytes
            for model in scan.models
            if model.folder == folder.path
            for file in model.files
        }
        yield FolderInfo(
            folder.path,
            folder.found,
            folder.complete,
            folder.reason,
            folder.mount,
            folder.configured,
            counts[folder.path],
            sum(sizes.values()),
        )


def _duplicate(found: Duplicate) -> DuplicateInfo:
    copies = tuple(CopyInfo(each.path, each.models) for each in found.copies)
    return DuplicateInfo(found.size_bytes, found.sha256, bool(found.sha256), found.reclaimable_bytes, copies)


def _disks(known: Known, now: float) -> Iterable[DiskInfo]:
    for space in known.scan.spaces:
        samples = known.records.space.get(space.mount, ())
        found = trend(samples, now)
        yield DiskInfo(
            space.mount,
            space.free_bytes,
            space.total_bytes,
            len(samples),
            found.growth_bytes_per_day,
            found.full_at,
            found.reason,
        )
