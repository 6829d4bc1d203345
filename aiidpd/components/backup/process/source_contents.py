"""Contents of a source now, as far as its snapshots can say: a listing compared with their lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.manifest import FileEntry, Manifest
from aiidpd.components.backup.process.models import parents
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.scan import scan
from aiidpd.components.backup.retention.snapshots import SourceContents

_ROOT: Final = "."


def list_source(source: str, step: Callable[[], None]) -> tuple[SourceListing | None, str]:
    """Return what the folder ``source`` has now; None where that can't be known, with the reason. Blocks."""
    if not source:
        return None, "no source is configured"
    if not os.path.isdir(source):  # noqa: PTH112 -- Path.is_dir raises where it may not read
        return None, "it is no folder, or may not be read"
    try:
        listing = SourceListing(scan(Path(source), step))
    except OSError as error:
        return None, os.strerror(error.errno or 0)
    if listing.unreadable:
        return None, listing.unreadable
    if listing.empty:
        return None, "it holds no files, as a disk that is not mounted"
    return listing, ""


class SourceListing:
    """Files that a source has, to be compared with its snapshots, the newest first.

    A file counts with the digest under which a snapshot has it with the same size and time, also where its
    bytes rotted since; else, as one that can't be read or was never backed up as it is now, with the digest
    that its path had last, best of the same size. So a copy of an earlier version counts until there is one
    of the present version. All that lies in a folder which can't be listed counts as there.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.unreadable = ""
        self._files: dict[str, Entry] = {}
        self._hidden: set[str] = set()
        for entry in entries:
            if entry.kind is Kind.FILE:
                self._files[entry.path] = entry
            elif entry.kind is Kind.UNREADABLE and entry.path == _ROOT:
                self.unreadable = entry.note
            elif entry.kind is Kind.UNREADABLE:
                self._hidden.add(entry.path)
        self._by_inode = {entry.inode: entry for entry in self._files.values()}
        self._exact: dict[str, str] = {}
        self._likely: dict[str, tuple[bool, str]] = {}
        self._in_hidden: set[str] = set()

    @property
    def empty(self) -> bool:
        """Return whether no file was found, and none may be hidden."""
        return not self._files and not self._hidden

    def compare(self, manifest: Manifest) -> None:
        """Note what the next older snapshot of this source says."""
        for file in manifest.files:
            entry = self._files.get(file.path)
            if entry is not None and _is(entry, file):
                self._exact.setdefault(entry.path, file.sha256)
                continue
            moved = self._by_inode.get(file.inode) if file.inode is not None else None
            if moved is not None and _is(moved, file):
                self._exact.setdefault(moved.path, file.sha256)
            if entry is not None:
                self._note_likely(entry, file)
            elif self._is_hidden(file.path):
                self._in_hidden.add(file.sha256)

    def contents(self, models: Iterable[str]) -> SourceContents:
        """Return the contents, with those of ``models`` that are there."""
        digests = set(self._exact.values()) | self._in_hidden
        digests.update(sha256 for path, (_, sha256) in self._likely.items() if path not in self._exact)
        places = {*self._files, *self._hidden}
        for path in (*self._files, *self._hidden):
            places.update(parents(path))
        there = frozenset(name for name in models if name in places or self._is_hidden(name))
        return SourceContents(frozenset(digests), there)

    def _note_likely(self, entry: Entry, file: FileEntry) -> None:
        fits = entry.size == file.size
        if entry.path not in self._likely or (fits and not self._likely[entry.path][0]):
            self._likely[entry.path] = (fits, file.sha256)

    def _is_hidden(self, path: str) -> bool:
        return bool(self._hidden) and any(each in self._hidden for each in parents(path))


def _is(entry: Entry, file: FileEntry) -> bool:
    return (entry.size, entry.mtime_ns) == (file.size, file.mtime_ns)
