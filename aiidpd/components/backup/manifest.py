"""Two lists in a snapshot (pure): SHA256SUMS for everybody's tools, manifest.json for ours."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import fsdecode, fsencode
from typing import Any

from aiidpd.components.backup.names import escape, stays_inside, unescape

SCHEMA = 1
FILES = "files"  # the folder in a snapshot that mirrors the source
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file in a snapshot. ``size`` in bytes, ``sha256`` in hex.

    ``verified_at`` is when its bytes were last read back from the target (Unix seconds); a file that
    is linked from an earlier snapshot has the time at which it was verified there.
    """

    path: str
    size: int
    mtime_ns: int
    mode: int
    sha256: str
    verified_at: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a snapshot records about itself. Times in Unix seconds, sizes in bytes.

    ``links`` maps a symbolic link's path to its target; ``refused`` maps a path of the source that
    was left out to the reason. ``verified_at`` is when this run ended reading back what it copied.
    """

    snapshot: str
    source: str
    created_at: float
    files: tuple[FileEntry, ...]
    links: Mapping[str, str]
    refused: Mapping[str, str]
    copied_files: int
    copied_bytes: int
    verified_at: float | None = None

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size for file in self.files)


def dump_manifest(manifest: Manifest) -> bytes:
    """Return ``manifest`` as JSON; names that are not UTF-8 become lone surrogates, ASCII on the disk."""
    document = {"schema": SCHEMA, **asdict(manifest)}
    document["totals"] = {"files": len(manifest.files), "bytes": manifest.bytes}
    return json.dumps(document, indent=1, allow_nan=False).encode("ascii") + b"\n"


def load_manifest(data: bytes) -> Manifest:
    """Read what :func:`dump_manifest` wrote; raises :class:`ValueError` that names the fault."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("manifest.json is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("manifest.json holds no object")  # noqa: TRY004 -- data, not a caller's mistake
    if document.get("schema") != SCHEMA:
        raise ValueError(f"manifest.json has schema {document.get('schema')!r}, this version reads {SCHEMA}")
    try:
        totals = document.pop("totals")
        del document["schema"]
        files = tuple(_file_entry(entry) for entry in document.pop("files"))
        manifest = Manifest(files=files, **document)
        if totals != {"files": len(files), "bytes": manifest.bytes}:
            raise ValueError("the totals in manifest.json are not those of its files")
        paths = [file.path for file in files] + list(manifest.links)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"manifest.json is incomplete: {error}") from error
    if not _has_types(manifest):
        raise ValueError("manifest.json holds values of the wrong type")
    if not all(stays_inside(path) for path in paths):
        raise ValueError("manifest.json names a path outside the snapshot")
    return manifest


def _file_entry(fields: dict[str, Any]) -> FileEntry:
    entry = FileEntry(**fields)
    whole = all(type(number) is int for number in (entry.size, entry.mtime_ns, entry.mode))
    named = isinstance(entry.path, str) and isinstance(entry.sha256, str) and _DIGEST.fullmatch(entry.sha256)
    if not (whole and named and _is_time(entry.verified_at)):
        raise ValueError(f"manifest.json has an impossible entry for {entry.path!r}")
    return entry


def _has_types(manifest: Manifest) -> bool:
    texts = [manifest.snapshot, manifest.source, *manifest.links, *manifest.links.values()]
    counts = [manifest.copied_files, manifest.copied_bytes]
    times = manifest.created_at is not None and all(
        map(_is_time, (manifest.created_at, manifest.verified_at))
    )
    return (
        times and all(isinstance(text, str) for text in texts) and all(type(count) is int for count in counts)
    )


def _is_time(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value))


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
