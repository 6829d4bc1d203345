"""Damaged contents with all that healing needs: names to replace, places that may have a good copy."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from aiidpd.components.backup.process.manifest import FILES, FileEntry
from aiidpd.components.backup.process.store import OBJECTS, SNAPSHOTS, Store
from aiidpd.components.backup.process.units import NO_FILE, Step, Unit, Wrong, is_inside, read_lists

_Inode: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class Wound:
    """A content of which a copy is damaged or missing. Paths are relative to the target.

    ``names`` maps each that has to be replaced to what is wrong with it, ``entries`` those of snapshots to
    what their lists say. ``donors`` are other copies on the target, ``sources`` files that had the content
    when they were backed up, by their absolute path.
    """

    sha256: str
    names: dict[str, str] = field(default_factory=dict)
    entries: dict[str, FileEntry] = field(default_factory=dict)
    donors: dict[_Inode, str] = field(default_factory=dict)
    sources: dict[str, FileEntry] = field(default_factory=dict)


def snapshot_of(name: str) -> str:
    """Return the snapshot that a path in the target belongs to, empty for none (pure)."""
    parts = name.split("/", 2)
    return parts[1] if parts[0] == SNAPSHOTS and len(parts) > 1 else ""


def find_wounds(
    store: Store, damaged: Iterable[tuple[Unit, str]], wrong: Iterable[Wrong], step: Step
) -> list[Wound]:
    """Return what ``damaged`` (each with the reason) and the missing among ``wrong`` amount to. Blocks."""
    bad: dict[tuple[str, _Inode], str] = {}
    wounds: dict[str, Wound] = {}
    for unit, reason in damaged:
        inode = _inode(store.target / unit.file)
        if inode is not None:
            bad[unit.sha256, inode] = reason
        wounds.setdefault(unit.sha256, Wound(unit.sha256))
    for each in wrong:
        if each.sha256:
            wounds.setdefault(each.sha256, Wound(each.sha256)).names[each.path] = each.reason
    if wounds:
        for sha256, wound in wounds.items():
            name = f"{OBJECTS}/{sha256[:2]}/{sha256}"
            _sort(store, wound, name, bad)
        for snapshot in reversed(store.identities()):
            _add_names(store, snapshot, wounds, bad, step)
    return list(wounds.values())


def _add_names(
    store: Store,
    snapshot: str,
    wounds: Mapping[str, Wound],
    bad: Mapping[tuple[str, _Inode], str],
    step: Step,
) -> None:
    lists = read_lists(store, snapshot)
    entries = {}
    if lists.manifest is not None and not lists.broken:
        entries = {file.path: file for file in lists.manifest.files}
    for path, sha256 in lists.hashes.items():
        step()
        wound = wounds.get(sha256)
        if wound is None:
            continue
        name = f"{SNAPSHOTS}/{snapshot}/{FILES}/{path}"
        _sort(store, wound, name, bad)
        entry = entries.get(path)
        if entry is not None and lists.manifest is not None:
            if name in wound.names:
                wound.entries[name] = entry
            if not entry.retained:
                wound.sources.setdefault(os.path.join(lists.manifest.source, path), entry)  # noqa: PTH118


def _sort(store: Store, wound: Wound, name: str, bad: Mapping[tuple[str, _Inode], str]) -> None:
    """Add a place of a content to the names to be replaced, or to the donors."""
    inode = _inode(store.target / name) if is_inside(store.target, name) else None
    if inode is None:
        if snapshot_of(name):
            wound.names.setdefault(name, NO_FILE)
    elif (wound.sha256, inode) in bad:
        wound.names[name] = bad[wound.sha256, inode]
    else:
        wound.donors.setdefault(inode, name)


def _inode(path: Path) -> _Inode | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
