"""Facts of each snapshot that never change, so that a summary need not read its list again: ``summary.json``.

Derived from the snapshots alone: it can be removed at any time, and is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiidpd.platform.atomic import write_atomic

CACHE: Final = "summary.json"
_VERSION: Final = 1
_INDEX: Final = "I"


@dataclass(slots=True)
class Known:
    """A snapshot. ``stat`` identifies its manifest; ``contents`` are indices in the table of contents."""

    stat: tuple[int, int, int]
    facts: dict[str, Any]
    contents: array[int]


@dataclass(slots=True)
class Cache:
    """All snapshots, and the table of contents: keys as in the proofs, sizes in bytes.

    ``inodes`` maps the inode of a file that is no object to its index.
    """

    keys: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    inodes: dict[int, int] = field(default_factory=dict)
    snapshots: dict[str, Known] = field(default_factory=dict)
    _index: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, size: int) -> int:
        """Return the index of a content."""
        if not self._index and self.keys:
            self._index = {each: number for number, each in enumerate(self.keys)}
        index = self._index.setdefault(key, len(self.keys))
        if index == len(self.keys):
            self.keys.append(key)
            self.sizes.append(size)
        return index

    def compact(self) -> None:
        """Forget contents that no snapshot has."""
        used = sorted({index for known in self.snapshots.values() for index in known.contents})
        if len(used) == len(self.keys):
            return
        new = {old: number for number, old in enumerate(used)}
        for known in self.snapshots.values():
            known.contents = array(_INDEX, [new[index] for index in known.contents])
        self.keys = [self.keys[old] for old in used]
        self.sizes = [self.sizes[old] for old in used]
        self.inodes = {inode: new[index] for inode, index in self.inodes.items() if index in new}
        self._index = {}


def indices(found: Iterable[int]) -> array[int]:
    """Return indices as they are held in memory and in the file."""
    return array(_INDEX, found)


def load(target: Path) -> Cache:
    """Return what is known, nothing where the file is missing or damaged. Blocks."""
    try:
        digest, _, text = (target / CACHE).read_bytes().partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode("ascii") != digest:
            return Cache()
        body = json.loads(text)
        if body["version"] != _VERSION:
            return Cache()
        snapshots = {snapshot: _known(each) for snapshot, each in body["snapshots"].items()}
        inodes = {int(inode): index for inode, index in body["inodes"].items()}
        return Cache(body["keys"], body["sizes"], inodes, snapshots)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Cache()


def save(target: Path, cache: Cache) -> None:
    """Write the file, best effort: the target may be read-only. Blocks."""
    body = {
        "version": _VERSION,
        "keys": cache.keys,
        "sizes": cache.sizes,
        "inodes": cache.inodes,
        "snapshots": {
            snapshot: {"stat": known.stat, "facts": known.facts, "contents": _text(known.contents)}
            for snapshot, known in cache.snapshots.items()
        },
    }
    text = json.dumps(body).encode("ascii")
    with contextlib.suppress(OSError):
        write_atomic(target / CACHE, hashlib.sha256(text).hexdigest().encode("ascii") + b"\n" + text)


def drop(target: Path) -> None:
    """Remove the file: something that it was derived from has changed. Blocks."""
    with contextlib.suppress(OSError):
        (target / CACHE).unlink(missing_ok=True)


def _text(contents: array[int]) -> str:
    return b64encode(contents.tobytes()).decode("ascii")


def _known(document: Mapping[str, Any]) -> Known:
    inode, size, mtime_ns = document["stat"]
    contents = array(_INDEX)
    contents.frombytes(b64decode(document["contents"]))
    return Known((inode, size, mtime_ns), document["facts"], contents)
