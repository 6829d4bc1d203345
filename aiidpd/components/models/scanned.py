"""Outcome of a scan: models as they lie in the folders, leftovers, folders and file systems (pure)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aiidpd.formats.model_files import Layout, ModelFiles, Proof

BIG_FROM_BYTES = 2**20
"""Smallest file that counts for backups and duplicates."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Marks by which a file is known to be the one that it was."""

    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One payload of a model at the absolute ``path``; names of it within the model are ``names``."""

    path: str
    names: tuple[str, ...]
    stamp: FileStamp
    device: int
    proof: Proof | None

    @property
    def identity(self) -> tuple[int, int]:
        """Return what all hard links to the file share."""
        return self.device, self.stamp.inode


@dataclass(frozen=True, slots=True)
class FoundSignature:
    """Signature file beside a model, with what it states of itself. Nothing of that is proven."""

    path: str
    stamp: FileStamp
    method: str = ""
    key_hint: str = ""
    identity: str = ""
    issuer: str = ""
    file_count: int = 0
    """Files, or shards of files, that it covers."""
    problem: str = ""
    """Reason for which it is no signature that can be read."""


@dataclass(frozen=True, slots=True)
class ScannedModel:
    """One model with its files that are there. ``places`` are paths by which it may be named.

    ``fingerprint`` changes with each change of a file or name of it.
    """

    folder: str
    model: ModelFiles
    files: tuple[ScannedFile, ...]
    fingerprint: str
    places: tuple[str, ...]
    signature: FoundSignature | None = None

    @property
    def key(self) -> str:
        """Return what identifies it: where it lies, its name, its revision."""
        return f"{self.model.root}\n{self.model.name}\n{self.model.revision}"

    @property
    def label(self) -> str:
        """Return its name for people, with the revision where the cache may hold several."""
        model, name = self.model, shown(self.model.name)
        short = model.layout is Layout.HUGGING_FACE and model.revision and not model.refs
        return f"{name}@{model.revision[:8]}" if short else name


@dataclass(frozen=True, slots=True)
class Leftover:
    """File of a download that never ended. ``changed_at`` is in Unix seconds."""

    folder: str
    path: str
    size_bytes: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class ScannedFolder:
    """One folder that was searched. ``reason`` is why it could not be, or not wholly; else it is empty."""

    path: str
    found: bool
    complete: bool
    reason: str
    mount: str
    configured: bool


@dataclass(frozen=True, slots=True)
class Space:
    """File system at ``mount``, in bytes; ``free_bytes`` is what users may still write."""

    mount: str
    device: int
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Scan:
    """Outcome of one scan. ``opened`` counts the models whose files were opened."""

    folders: tuple[ScannedFolder, ...] = ()
    models: tuple[ScannedModel, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    spaces: tuple[Space, ...] = ()
    opened: int = 0
    seconds: float = 0.0


def fingerprint_of(model: ModelFiles, files: tuple[ScannedFile, ...]) -> str:
    """Return a digest of all names and stamps of ``model``."""
    digest = hashlib.sha256()
    for listed in model.files:
        digest.update(repr((listed.path, listed.at, listed.size_bytes)).encode())
    for file in files:
        digest.update(repr((file.path, file.stamp, file.device)).encode())
    for problem in model.problems:
        digest.update(repr((problem.path, problem.damage.value)).encode())
    return digest.hexdigest()


def shown(text: str) -> str:
    """Return ``text`` as JSON can hold it: bytes of a name that are no UTF-8 become escapes."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "backslashreplace")
