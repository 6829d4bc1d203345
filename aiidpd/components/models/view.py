"""Models as they are shown: documents of the API and what everything else is made of (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

from aiidpd.components.models.backed_up import BackupState
from aiidpd.components.models.scanned import shown
from aiidpd.components.models.signatures import SignatureState
from aiidpd.components.models.uses import UseKind


class UpstreamState(StrEnum):
    """State of a model beside its branch on the hub."""

    CURRENT = "current"
    NEWER = "newer"
    UNKNOWN = "unknown"
    NONE = "none"
    """It did not come from the hub."""


@dataclass(frozen=True, slots=True)
class ProblemInfo:
    """Damage of one file."""

    path: str
    damage: str
    reason: str


@dataclass(frozen=True, slots=True)
class UseInfo:
    """One use of a model; what does not apply is empty or null."""

    kind: UseKind
    container: str
    engine: str
    pid: int | None
    program: str


@dataclass(frozen=True, slots=True)
class SignatureInfo:
    """Signature beside a model. What is not known, or does not apply, is empty or null."""

    state: SignatureState
    required: bool = False
    """True where a signer of the configuration names the model: it must be valid then."""
    path: str = ""
    method: str = ""
    """Proof by which it can be verified, as it states: ``key``, ``certificate`` or ``sigstore``."""
    key_hint: str = ""
    """SHA-256 of the public key's PEM, as it states it."""
    claimed_identity: str = ""
    """Identity that its certificate names. Nobody has proven it unless the state is valid."""
    claimed_issuer: str = ""
    """Service that its certificate names as having vouched for the identity. Unproven likewise."""
    signer: str = ""
    """Signer of the configuration by which it is valid or invalid."""
    checked_at: float | None = None
    reason: str = ""
    wrong: bool = False
    """True where it does not match, or is missing or not trusted where it is required."""


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """Tensors of one type; ``bytes`` is null for a type that is not known."""

    name: str
    tensors: int
    elements: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One payload of a model."""

    path: str
    names: tuple[str, ...]
    """Names within the model."""
    size_bytes: int
    proof: str
    """Hash that the cache's names or records state, such as ``sha256:HEX``; empty where they state none."""
    sha256: str
    """SHA-256 that is known; empty where none is."""
    sha256_from: str
    """Source of it: ``cache``, ``backup``, or ``reading``."""
    read_at: float | None
    """Time of the last whole reading by `models verify`; null where there was none since it changed."""
    damaged: str
    """Finding of that reading; empty where it was right."""
    backed_up: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model. What headers don't state is null or empty."""

    name: str
    label: str
    """Name with the revision, where a cache holds several."""
    layout: str
    root: str
    folder: str
    """Folder of the configuration that it was found in."""
    disk: str
    """Mount point of its file system."""
    repository: str
    revision: str
    refs: tuple[str, ...]
    format: str
    architecture: str
    parameters: int | None
    active_parameters: int | None
    quantization: str
    context_length: int | None
    tensor_bytes: int | None
    size_bytes: int
    """Bytes of its files, each payload once."""
    file_count: int
    problems: tuple[ProblemInfo, ...]
    proven_bytes: int
    """Bytes of files whose SHA-256 or git SHA-1 is known."""
    read_at: float | None
    """Time since which all of its files were read and found right; null where some were not."""
    uses: tuple[UseInfo, ...]
    last_used_at: float | None
    last_used_by: str
    backup: BackupState
    backed_up_at: float | None
    backup_reason: str
    upstream: UpstreamState
    upstream_commit: str
    upstream_at: float | None
    upstream_reason: str
    signature: SignatureInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """One model, with all of its files and types."""

    model: ModelInfo
    types: tuple[TypeInfo, ...]
    files: tuple[FileInfo, ...]


@dataclass(frozen=True, slots=True)
class FolderInfo:
    """One folder that is searched."""

    path: str
    found: bool
    complete: bool
    reason: str
    """Why it could not be searched, or not wholly."""
    disk: str
    configured: bool
    """False for a usual cache that was found."""
    models: int
    size_bytes: int
    """Bytes of the models in it, each payload once."""


@dataclass(frozen=True, slots=True)
class LeftoverInfo:
    """File of a download that never ended."""

    path: str
    folder: str
    size_bytes: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class CopyInfo:
    """One of several files with the same content."""

    path: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DuplicateInfo:
    """Several files with the same content: certain by their SHA-256, else probable by samples."""

    size_bytes: int
    sha256: str
    certain: bool
    reclaimable_bytes: int
    copies: tuple[CopyInfo, ...]


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """File system of one or more folders."""

    mount: str
    free_bytes: int
    total_bytes: int
    days: int
    """Days of which a sample is there."""
    growth_bytes_per_day: float | None
    full_at: float | None
    reason: str
    """Why the day on which it is full is not known."""


@dataclass(frozen=True, slots=True)
class ModelsView:
    """Everything that is known of models."""

    models: tuple[ModelInfo, ...] = ()
    folders: tuple[FolderInfo, ...] = ()
    leftovers: tuple[LeftoverInfo, ...] = ()
    duplicates: tuple[DuplicateInfo, ...] = ()
    reclaimable_bytes: int = 0
    disks: tuple[DiskInfo, ...] = ()
    scanned_at: float = 0.0
    scan_seconds: float = 0.0
    open_reason: str = ""
    """Why it is not known of all processes which files they have open."""
    details: dict[str, ModelDetails] = field(default_factory=dict)
    """Details by the key of each model."""
    simulated: bool = False


def cleaned(value: Any) -> Any:
    """Return ``value``, texts in it as JSON can hold them: what others named may be any bytes."""
    if isinstance(value, str):
        return value if value.isascii() or isinstance(value, StrEnum) else shown(value)
    if isinstance(value, tuple):
        return tuple(map(cleaned, value))
    if is_dataclass(value) and not isinstance(value, type):
        given = {each.name: getattr(value, each.name) for each in fields(value)}
        changed = {name: new for name, old in given.items() if (new := cleaned(old)) != old}
        return replace(value, **changed) if changed else value
    return value
