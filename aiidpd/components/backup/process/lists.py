"""Agreement of the two lists in a snapshot, manifest.json and SHA256SUMS (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.components.backup.process.manifest import (
    FILES,
    MANIFEST,
    SUMS,
    Manifest,
    dump_sums,
    load_manifest,
    load_sums,
    sums_of,
)
from aiidpd.components.backup.process.names import shown, stays_inside

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_MOST: Final = 20  # differences that are named
_FEW: Final = 4  # characters of a line that may be damaged, and it still proves
_PREFIX: Final = f"{FILES}/"


@dataclass(frozen=True, slots=True)
class Lists:
    """Content of both lists. ``hashes`` maps the path of each file to its hash, by the list that is right.

    ``broken`` is why manifest.json is not to be trusted, empty where it is: then ``manifest`` may still be
    there, for what else it says. ``flaws`` is what is wrong with SHA256SUMS; ``sums`` is its right content,
    where manifest.json proves that, else None.
    """

    manifest: Manifest | None
    hashes: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    broken: str = ""
    flaws: tuple[str, ...] = ()
    sums: bytes | None = None


def check_lists(snapshot: str, listed: bytes, sums: bytes) -> Lists:
    """Compare the contents of manifest.json and of SHA256SUMS of the folder ``snapshot``."""
    manifest, broken = _manifest(snapshot, listed)
    if manifest is not None:
        right = dump_sums(sums_of(manifest, listed))
        if sums == right:
            return Lists(manifest, _hashes(manifest))
    try:
        found: Mapping[str, str] | None = load_sums(sums)
        flaws: tuple[str, ...] = ()
    except ValueError as error:
        found, flaws = None, (str(error),)
    if manifest is not None and proves(sums, listed):  # which proves each byte of it
        if found is not None:
            flaws = tuple(_differences(sums_of(manifest, listed), found))
        return Lists(
            manifest,
            _hashes(manifest),
            flaws=flaws or ("its lines are not as they were written",),
            sums=right,
        )
    if found is None:
        return Lists(manifest, _hashes(manifest), broken or f"no {SUMS} proves it", flaws)
    if not broken:
        differences = tuple(_differences(sums_of(manifest, listed), found)) if manifest is not None else ()
        broken = f"it is not the one that {SUMS} lists: {'; '.join(differences)}"
    return Lists(manifest, _inside(found), broken)


def proves(sums: bytes, listed: bytes) -> bool:
    """Return whether SHA256SUMS, be the rest of it damaged, has the hash of manifest.json.

    A digit or two of its own line may be damaged: no other content has a hash that is nearly the same.
    """
    line = f"{hashlib.sha256(listed).hexdigest()}  {MANIFEST}\n".encode("ascii")
    last = sums[-len(line) :]
    different = sum(one != other for one, other in zip(line, last, strict=False))
    return line in sums + b"\n" or (len(last) == len(line) and different <= _FEW)


def _manifest(snapshot: str, listed: bytes) -> tuple[Manifest | None, str]:
    try:
        manifest = load_manifest(listed)
    except ValueError as error:  # of UTF-8 too
        return None, str(error)
    if manifest.snapshot != snapshot:
        return None, f"it is that of {shown(manifest.snapshot)}"
    return manifest, ""


def _hashes(manifest: Manifest | None) -> Mapping[str, str]:
    return NOTHING if manifest is None else {file.path: file.sha256 for file in manifest.files}


def _inside(sums: Mapping[str, str]) -> dict[str, str]:
    paths = {path.removeprefix(_PREFIX): sha256 for path, sha256 in sums.items() if path.startswith(_PREFIX)}
    return {path: sha256 for path, sha256 in paths.items() if stays_inside(path)}


def _differences(right: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of SHA256SUMS that differ, as many as are to be named."""
    texts = [
        f"it has another hash for {shown(path)}"
        for path in right
        if found.get(path, right[path]) != right[path]
    ]
    texts += [f"it lacks {shown(path)}" for path in right if path not in found]
    texts += [f"it lists {shown(path)}, which the snapshot lacks" for path in found if path not in right]
    yield from texts[:_MOST]
    if len(texts) > _MOST:
        yield f"and {len(texts) - _MOST} more"
