"""Files that a signature covers: their names and hashes, beside what was signed. Blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from aiidpd.components.models.openssf import hasher
from aiidpd.components.models.reading import FileChanged, read_through
from aiidpd.components.models.record import HashRecord
from aiidpd.components.models.scanned import FileStamp, shown
from aiidpd.components.models.signed import Place
from aiidpd.formats.model_files import Hasher
from aiidpd.formats.signature import Statement

MOST_ENTRIES: Final = 200_000
_MOST_NAMED: Final = 3
_LONGEST_NAME: Final = 100


class Different(Exception):
    """Finding that files are not those that were signed."""


class Unreadable(Exception):
    """Refusal to say anything of files that can't be read, or change meanwhile."""


def measure(
    place: Place, statement: Statement, read: Mapping[str, HashRecord], step: Callable[[int], None]
) -> dict[str, str]:
    """Return name and hash of all that the statement must cover; nothing is read where names differ.

    Raises :class:`Different` where files are not those that were signed, and :class:`Unreadable`.
    """
    files = covered(place, statement)
    stamps: dict[str, FileStamp] = {}
    names: dict[str, list[str]] = {}
    for name, path in files.items():
        try:
            status = os.stat(path)  # noqa: PTH116 -- a path may be any bytes
        except OSError as error:
            raise Unreadable(f"{name} can't be read: {(error.strerror or 'error').lower()}") from None
        stamps[name] = FileStamp(status.st_size, status.st_mtime_ns, status.st_ino)
        count = -(-status.st_size // statement.shard_bytes) if statement.shard_bytes else 1
        if count > len(statement.resources):
            raise Different(f"{_name(name)} is larger than what was signed")
        names[name] = list(_names(name, status.st_size, statement.shard_bytes))
    _compare_names(statement, {each for listed in names.values() for each in listed})
    found: dict[str, str] = {}
    for name, path in files.items():
        try:
            digests = _digests(path, stamps[name], statement, read, step)
        except FileChanged:
            raise Unreadable(f"{_name(name)} changed while it was read") from None
        except OSError as error:
            reason = (error.strerror or "error").lower()
            raise Unreadable(f"{_name(name)} can't be read: {reason}") from None
        found.update(zip(names[name], digests, strict=True))
    changed = sorted(name for name, digest in found.items() if statement.resources[name].hex != digest)
    if changed:
        raise Different(f"not as it was signed: {_listed(changed)}")
    return found


def covered(place: Place, statement: Statement) -> dict[str, str]:
    """Return the files at ``place`` that its statement must cover: path of each by its name.

    Raises :class:`Different` for a link or a device, which can't be covered, and :class:`Unreadable`.
    """
    if statement.of_one_file:
        return {".": _payload(place, ".", place.root, statement)}
    ignored = {str(each) for each in statement.ignored}
    if place.path.startswith(f"{place.root}/"):
        ignored.add(place.path.removeprefix(f"{place.root}/"))
    found: dict[str, str] = {}
    waiting, seen = [""], 0
    while waiting:
        prefix = waiting.pop()
        for entry in _entries(f"{place.root}/{prefix}"):
            seen += 1
            if seen > MOST_ENTRIES:
                raise Unreadable(f"the folder has more than {MOST_ENTRIES} entries")
            name = f"{prefix}{entry.name}"
            if ignored & {name, *map(str, PurePosixPath(name).parents)}:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{name}/")
            else:
                found[name] = _payload(place, name, entry.path, statement)
    return found


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as listing:
            return list(listing)
    except OSError as error:
        raise Unreadable(f"{path} can't be listed: {(error.strerror or 'error').lower()}") from None


def _payload(place: Place, name: str, path: str, statement: Statement) -> str:
    """Return the path of the bytes of a file; a link counts in a cache, or where the signer allowed it."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            path = os.path.realpath(path)
            stored = bool(place.store) and path.startswith(f"{place.store}/")
            if not (stored or statement.follows_links):
                raise Different(f"{_name(name)} is a link, which the signature does not cover")
            mode = os.stat(path).st_mode  # noqa: PTH116 -- a path may be any bytes
    except FileNotFoundError:
        raise Different(f"{_name(name)} is not there") from None
    except OSError as error:
        raise Unreadable(f"{_name(name)} can't be read: {(error.strerror or 'error').lower()}") from None
    if not stat.S_ISREG(mode):
        raise Different(f"{_name(name)} is no file, and can't be covered by a signature")
    return path


def _names(name: str, size_bytes: int, shard_bytes: int) -> Iterator[str]:
    if not shard_bytes:
        yield name
        return
    for start in range(0, size_bytes, shard_bytes):
        yield f"{name}:{start}:{min(start + shard_bytes, size_bytes)}"


def _compare_names(statement: Statement, found: set[str]) -> None:
    wanted = set(statement.resources)
    parts = []
    if wanted - found:
        parts.append(f"signed, and not there: {_listed(sorted(wanted - found))}")
    if found - wanted:
        parts.append(f"there, and not signed: {_listed(sorted(found - wanted))}")
    if parts:
        raise Different("; ".join(parts))


def _digests(
    path: str,
    stamp: FileStamp,
    statement: Statement,
    read: Mapping[str, HashRecord],
    step: Callable[[int], None],
) -> list[str]:
    known = read.get(path)
    if (
        known is not None
        and known.stamp == stamp
        and known.sha256
        and not known.damaged
        and (statement.hash_type, statement.shard_bytes) == ("sha256", 0)
    ):
        return [known.sha256]
    shards = _Shards(lambda: hasher(statement.hash_type), statement.shard_bytes)
    read_through(path, stamp, (shards,), step)
    return shards.digests()


class _Shards:
    """Hashes what it is fed, each ``size`` bytes apart; all of it where that is 0."""

    def __init__(self, make: Callable[[], Hasher], size: int) -> None:
        self._make = make
        self._size = size
        self._now = make()
        self._done: list[str] = []
        self._fed = 0

    def update(self, data: bytes, /) -> None:
        view, at = memoryview(data), 0
        while at < len(view):
            room = self._size - self._fed if self._size else len(view) - at
            with view[at : at + room] as piece:
                self._now.update(piece)  # type: ignore[arg-type]  # takes any buffer
                at += len(piece)
                self._fed += len(piece)
            if self._size and self._fed == self._size:
                self._end()
        view.release()

    def hexdigest(self) -> str:
        return self._now.hexdigest()

    def digests(self) -> list[str]:
        if self._fed or not self._size:
            self._end()
        return self._done

    def _end(self) -> None:
        self._done.append(self._now.hexdigest())
        self._now, self._fed = self._make(), 0


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(map(_name, names[:_MOST_NAMED]))}{more}"


def _name(name: str) -> str:
    text = shown(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."
