"""Folders with the state of all that lies in them, and fingerprints of it.

It is a part of the start of the process that answers for an unchanged source, so it imports little: neither
typing nor dataclasses nor pathlib, which take longer to load than ten thousand files to list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from marshal import dumps
from stat import S_ISDIR, S_ISLNK

Item = tuple[str, os.stat_result, str]
"""A name in a folder, its state, and the target of a symbolic link."""
_PORTION = 1024  # names between two steps
_PLAIN = 2  # version of marshal in which equal values have equal bytes
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Fingerprint:
    """Hash of a listing, part by part: equal ones are of equal listings in the same order."""

    def __init__(self) -> None:
        self._digest = sha256()

    @property
    def hex(self) -> str:
        """Hash of all parts so far."""
        return self._digest.hexdigest()

    def add(self, folder: str, items: list[Item], fault: int) -> None:
        """Add a part as :func:`walk` yields it: of each item all but the time of its last use."""
        rows = [
            (name, target, *status[:7], status.st_mtime_ns, status.st_ctime_ns)
            for name, status, target in items
        ]
        self._digest.update(dumps((folder, fault, rows), _PLAIN))

    def add_names(self, folder: str, names: list[str]) -> None:
        """Add a part as :func:`names_below` yields it."""
        self._digest.update(dumps((folder, names), _PLAIN))


def walk(root: str, step: Callable[[], None]) -> Iterator[tuple[str, list[Item], int]]:
    """Yield each folder below ``root`` by its path, with what lies in it, a portion at a time.

    The last value is the number of the error where a folder can't be listed, else 0. Links are not
    followed. What vanishes meanwhile counts as not there. ``step`` is called for each portion. Raises
    :class:`OSError` where the state of something can't be read. Blocks.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            descriptor = os.open(f"{root}/{folder}", _OPEN | (os.O_NOFOLLOW if folder else 0))
        except OSError as error:
            yield folder, [], error.errno or 0
            continue
        try:
            prefix = f"{folder}/" if folder else ""
            try:
                names = os.listdir(descriptor)  # noqa: PTH208 -- of a descriptor
            except OSError as error:
                yield folder, [], error.errno or 0
                continue
            for begin in range(0, len(names) or 1, _PORTION):
                step()
                items = _items(descriptor, names[begin : begin + _PORTION])
                waiting += [prefix + name for name, status, _ in items if S_ISDIR(status.st_mode)]
                yield folder, items, 0
        finally:
            os.close(descriptor)


def names_below(root: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder right below ``root`` with the names in it; raises :class:`OSError`. Blocks."""
    with os.scandir(root) as found:
        folders = [each.name for each in found if each.is_dir(follow_symlinks=False)]
    for folder in folders:
        yield folder, os.listdir(f"{root}/{folder}")  # noqa: PTH208 -- names alone


def _items(descriptor: int, names: list[str]) -> list[Item]:
    found = []
    for name in names:
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            target = os.readlink(name, dir_fd=descriptor) if S_ISLNK(status.st_mode) else ""
        except FileNotFoundError:
            continue
        found.append((name, status, target))
    return found
