"""Two lists in a snapshot (pure): SHA256SUMS for everybody's tools, manifest.json for ours."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from os import fsdecode, fsencode
from types import MappingProxyType
from typing import Any, Final

from aiidpd.components.backup.process import layout
from aiidpd.components.backup.process.names import escape, stays_inside, unescape

SCHEMA: Final = 2
MANIFEST: Final = layout.MANIFEST
SUMS: Final = layout.SUMS
FILES: Final = layout.FILES  # the folder in a snapshot that mirrors the source
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_INT: Final = {int}
_STR: Final = {str}
_INT_OR_NONE: Final = (int, type(None))
_LINE: Final = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file in a snapshot. ``size`` in bytes, ``sha256`` in hex, times of the source's file.

    ``mtime_ns``, ``ctime_ns`` and ``inode`` (device and inode number) are the source's when it was read; the
    last two are None where a snapshot of schema 1 does not know them. ``read_at`` is when its bytes were last
    read from the source (Unix seconds). ``xattrs`` are extended attributes, their values in base64.
    ``retained`` is empty, or why content of an earlier snapshot stands here in place of the source's.
    """

    path: str
    size: int
    mtime_ns: int
    mode: int
    sha256: str
    ctime_ns: int | None = None
    inode: tuple[int, int] | None = None
    uid: int = 0
    gid: int = 0
    read_at: float | None = None
    xattrs: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    retained: str = ""


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A folder in a snapshot, for its mode and its time."""

    path: str
    mode: int
    mtime_ns: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a snapshot records about itself. Times in Unix seconds, sizes in bytes.

    ``links`` maps a symbolic link's path to its target; ``left_out`` maps a path of the source that is not in
    the snapshot, or not as it is in the source, to the reason.
    """

    snapshot: str
    source: str
    created_at: float
    files: tuple[FileEntry, ...] = ()
    folders: tuple[FolderEntry, ...] = ()
    links: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    left_out: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    copied_files: int = 0
    copied_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size for file in self.files)


def dump_manifest(manifest: Manifest) -> bytes:
    """Return ``manifest`` as JSON; names that are not UTF-8 become lone surrogates, ASCII on the disk.

    A file or a folder is a line; what has its default value is left out.
    """
    head = {
        "schema": SCHEMA,
        "snapshot": manifest.snapshot,
        "source": manifest.source,
        "created_at": manifest.created_at,
        "copied_files": manifest.copied_files,
        "copied_bytes": manifest.copied_bytes,
        "totals": {"files": len(manifest.files), "bytes": manifest.bytes},
        "links": dict(manifest.links),
        "left_out": dict(manifest.left_out),
    }
    lines = [json.dumps(head, indent=1, allow_nan=False)[:-2]]
    for name, entries in (("folders", manifest.folders), ("files", manifest.files)):
        listed = ",\n  ".join(json.dumps(_brief(entry), allow_nan=False) for entry in entries)
        lines.append(f',\n "{name}": [\n  {listed}\n ]' if listed else f',\n "{name}": []')
    lines.append("\n}\n")
    return "".join(lines).encode("ascii")


def load_manifest(data: bytes) -> Manifest:
    """Read what :func:`dump_manifest` wrote, or schema 1; raises :class:`ValueError` that names the fault."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("manifest.json is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("manifest.json holds no object")  # noqa: TRY004 -- data, not a caller's mistake
    schema = document.pop("schema", None)
    if schema not in (1, SCHEMA):
        raise ValueError(f"manifest.json has schema {schema!r}, this version reads 1 and {SCHEMA}")
    try:
        totals = document.pop("totals")
        if schema == 1:
            _from_schema_1(document)
        files = tuple(_file_entry(entry) for entry in document.pop("files"))
        folders = tuple(_folder_entry(entry) for entry in document.pop("folders"))
        manifest = Manifest(files=files, folders=folders, **document)
        if totals != {"files": len(files), "bytes": manifest.bytes}:
            raise ValueError("the totals in manifest.json are not those of its files")
        paths = [file.path for file in files] + [folder.path for folder in folders] + list(manifest.links)
        if not _has_types(manifest):
            raise ValueError("manifest.json holds values of the wrong type")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"manifest.json is incomplete: {error}") from error
    _refuse_paths(manifest, paths)
    return manifest


def sums_of(manifest: Manifest, listed: bytes) -> dict[str, str]:
    """Return the content of SHA256SUMS: every file by its path in the snapshot, and manifest.json."""
    sums = {f"{FILES}/{file.path}": file.sha256 for file in manifest.files}
    sums[MANIFEST] = hashlib.sha256(listed).hexdigest()
    return sums


def dump_sums(sums: Mapping[str, str]) -> bytes:
    """Return the lines that GNU ``sha256sum -c`` checks, for a map of path to hex digest."""
    lines = []
    for path, digest in sums.items():
        name = fsencode(path)
        escaped = escape(name)
        mark = b"\\" if escaped != name else b""
        lines.append(mark + digest.encode("ascii") + b"  " + escaped + b"\n")
    return b"".join(lines)


def load_sums(data: bytes) -> dict[str, str]:
    """Read the lines of ``sha256sum``; raises :class:`ValueError` with the number of a line that is none."""
    sums = {}
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number} is not a checksum line")
        mark, digest, name = match.groups()
        sums[fsdecode(unescape(name) if mark else name)] = digest.decode("ascii")
    return sums


def is_digest(text: object) -> bool:
    """Return whether ``text`` is a SHA-256 in lower-case hex."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _defaults(kind: type[Any]) -> tuple[tuple[str, Callable[[], object]], ...]:
    return tuple(
        (each.name, each.default_factory)
        if each.default_factory is not MISSING
        else (each.name, lambda default=each.default: default)
        for each in fields(kind)
    )


_DEFAULTS: Final = {kind: _defaults(kind) for kind in (FileEntry, FolderEntry)}


def _brief(entry: FileEntry | FolderEntry) -> dict[str, object]:
    document = {}
    for name, default in _DEFAULTS[type(entry)]:
        value = getattr(entry, name)
        if value != default():
            document[name] = dict(value) if isinstance(value, Mapping) else value
    return document


def _from_schema_1(document: dict[str, Any]) -> None:
    """Turn a document of schema 1 into one of the present schema."""
    document["left_out"] = document.pop("refused")
    document["folders"] = []
    del document["verified_at"]
    for entry in document["files"]:
        entry["read_at"] = entry.pop("verified_at")


def _file_entry(document: dict[str, Any]) -> FileEntry:
    inode = document.get("inode")
    if inode is not None:
        device, number = inode
        document["inode"] = inode = (device, number)
    entry = FileEntry(**document)
    whole = (entry.size, entry.mtime_ns, entry.mode, entry.uid, entry.gid, *(inode or ()))
    texts = (entry.path, entry.retained, entry.sha256)
    if not (
        set(map(type, whole)) == _INT
        and type(entry.ctime_ns) in _INT_OR_NONE
        and entry.size >= 0
        and set(map(type, texts)) == _STR
        and (not entry.xattrs or set(map(type, (*entry.xattrs, *entry.xattrs.values()))) == _STR)
        and is_digest(entry.sha256)
        and _is_time(entry.read_at)
    ):
        raise ValueError(f"manifest.json has an impossible entry for {entry.path!r}")
    return entry


def _folder_entry(document: dict[str, Any]) -> FolderEntry:
    entry = FolderEntry(**document)
    whole = all(type(number) is int for number in (entry.mode, entry.mtime_ns, entry.uid, entry.gid))
    if not (whole and isinstance(entry.path, str)):
        raise ValueError(f"manifest.json has an impossible entry for the folder {entry.path!r}")
    return entry


def _has_types(manifest: Manifest) -> bool:
    maps = (manifest.links, manifest.left_out)
    texts = [manifest.snapshot, manifest.source]
    texts += [text for each in maps for pair in each.items() for text in pair]
    counts = (manifest.copied_files, manifest.copied_bytes)
    return (
        manifest.created_at is not None
        and _is_time(manifest.created_at)
        and all(isinstance(text, str) for text in texts)
        and all(type(count) is int for count in counts)
    )


def _refuse_paths(manifest: Manifest, paths: Sequence[str]) -> None:
    if not _has_names(manifest, paths):
        raise ValueError("manifest.json has a name that no file can have")
    if not all(map(stays_inside, paths)):
        raise ValueError("manifest.json names a path outside the snapshot")
    if len(set(paths)) != len(paths):
        raise ValueError("manifest.json names a path twice")


def _has_names(manifest: Manifest, paths: Iterable[str]) -> bool:
    """Return whether all paths are bytes to the system; a lone surrogate may stand for none."""
    try:
        names = [fsencode(name) for name in (*paths, *manifest.links.values(), *manifest.left_out)]
    except UnicodeEncodeError:
        return False
    return not any(b"\0" in name for name in names)


def _is_time(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value))
