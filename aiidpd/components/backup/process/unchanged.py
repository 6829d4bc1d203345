"""Answer to a run that finds nothing changed, by what the run before it has compared: ``unchanged.json``.

A run decides by what the source and the target have: states of files, the newest list, names of contents.
The file has the hashes of all that was there when a run decided that nothing is to be done. Where they are
the same again, so is the decision, and no list has to be parsed for it. Whatever differs, is missing, can't
be read or would have to be explained is left to a whole run. The file can be removed at any time.

It is a part of the start of the process, so it imports little; see :mod:`.listing`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from stat import S_ISDIR, S_ISREG
from time import time

from aiidpd.components.backup.process.layout import (
    FILES,
    INCOMPLETE,
    LOCK,
    MANIFEST,
    MARKER,
    OBJECTS,
    PARTIAL,
    PROOFS,
    SNAPSHOTS,
    SUMS,
    UNCHANGED,
)
from aiidpd.components.backup.process.listing import Fingerprint, names_below, walk

TYPE_CHECKING = False  # that of typing takes 3 ms to import
if TYPE_CHECKING:
    from typing import Any

_VERSION = 1
_MOST_LEFT_OUT = 1_000
_BLOCK = 128 * 1024  # bytes
_NO_FINDINGS = (b'\n"damaged": {},\n', b'\n"rotten": {},\n', b'\n"version": 2\n')
"""Lines of proofs.json where nothing wrong was found; no text in it has a line break of its own."""
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RecursionError)


class GivenUp(Exception):
    """Order to leave the request to a whole run; ``step`` raises it."""


def answer(request: Mapping[str, Any], step: Callable[[], None]) -> dict[str, object] | None:
    """Return the result of a run by ``request`` if it would find nothing changed, else None. Blocks.

    It locks the target as a run does. None says nothing: then a whole run has to find out.
    """
    try:
        lock = os.open(f"{request['target']}/{LOCK}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _answer(request, step)
        finally:
            os.close(lock)
    except (*_DAMAGED, GivenUp):
        return None


def facts_of(source: str, target: str, exclude: list[str], snapshot: str) -> dict[str, object]:
    """Return all that a run of ``source`` depends on but for the fingerprints of what it lists. Blocks.

    Raises :class:`OSError` and :class:`ValueError` where something is not as it is for such a run.
    """
    folder = f"{target}/{SNAPSHOTS}/{snapshot}"
    if max(os.listdir(f"{target}/{SNAPSHOTS}")) != snapshot:  # noqa: PTH208 -- names alone
        raise ValueError("it is not the newest snapshot")
    if os.listdir(f"{target}/{INCOMPLETE}") or os.listdir(f"{target}/{PARTIAL}"):  # noqa: PTH208 -- as above
        raise ValueError("there is something to remove")
    if not (S_ISREG(os.lstat(f"{folder}/{SUMS}").st_mode) and S_ISDIR(os.lstat(f"{folder}/{FILES}").st_mode)):
        raise ValueError("the snapshot is not whole")
    if _overlap(source, target):
        raise ValueError("source and target overlap")
    manifest = _hash(f"{folder}/{MANIFEST}")
    line = f"{manifest}  {MANIFEST}\n".encode("ascii")
    if _end(f"{folder}/{SUMS}", len(line) + 1) != b"\n" + line:
        raise ValueError(f"{SUMS} does not list {MANIFEST} as it is")
    if not _has_no_findings(target):
        raise ValueError(f"{PROOFS} has something to act on")
    return {
        "source": source,
        "resolved": os.path.realpath(source),
        "program": _listing(os.path.dirname(__file__), lambda: None),  # noqa: PTH120
        "exclude": exclude,
        "snapshot": snapshot,
        "marker": _hash(f"{target}/{MARKER}"),
        "manifest": manifest,
    }


def remember(target: str, facts: Mapping[str, object], found: Mapping[str, Any], confirmed_at: float) -> None:
    """Write down that a run by ``facts`` finds nothing changed. Blocks.

    ``found`` has what its result says: ``target``, ``snapshot``, ``files``, ``bytes``, ``left_out``, and
    ``created_at`` of the snapshot. ``confirmed_at`` is 0 for a snapshot that is new. Raises :class:`OSError`,
    and :class:`ValueError` where it would be too much.
    """
    if len(found["left_out"]) > _MOST_LEFT_OUT:
        raise ValueError("too much is left out")
    _write(target, {"facts": facts, "found": found, "confirmed_at": confirmed_at})


def forget(target: str) -> None:
    """Remove the file, if that is possible; what is out of date proves nothing anyway."""
    with contextlib.suppress(OSError):
        os.unlink(f"{target}/{UNCHANGED}")  # noqa: PTH108


def fault_of(target: str) -> str:
    """Return what is wrong with the file, empty for nothing, or where there is none. Blocks."""
    try:
        _load(target)
    except FileNotFoundError:
        return ""
    except _DAMAGED as error:
        return str(error)
    return ""


def confirmed(target: str) -> dict[str, float]:
    """Return the snapshot that runs have found unchanged, and when the last of them did; else nothing."""
    try:
        body = _load(target)
        at = body["confirmed_at"]
        return {body["facts"]["snapshot"]: at} if at else {}
    except _DAMAGED:
        return {}


def _answer(request: Mapping[str, Any], step: Callable[[], None]) -> dict[str, object] | None:
    target, source = request["target"], request["source"]
    body = _load(target)
    facts, found, now = body["facts"], body["found"], request["now"] or time()
    if (
        request["adopt"]
        or request["expected"] not in ("", found["target"])
        or found["created_at"] > now
        or facts
        != {
            **facts_of(source, target, request["exclude"], facts["snapshot"]),
            "objects": _objects(target),
            "listing": _listing(source, step),
        }
    ):
        return None
    _write(target, {**body, "confirmed_at": now})
    return {
        "target": found["target"],
        "snapshot": found["snapshot"],
        "unchanged": True,
        "files": found["files"],
        "bytes": found["bytes"],
        "copied_files": 0,
        "copied_bytes": 0,
        "linked_files": found["files"],
        "linked_bytes": found["bytes"],
        "read_bytes": 0,
        "left_out": found["left_out"],
        "rotten": {},
        "rewritten": [],
        "protected": "",
        "own_copies": False,
    }


def _objects(target: str) -> str:
    fingerprint = Fingerprint()
    for folder, names in names_below(f"{target}/{OBJECTS}"):
        fingerprint.add_names(folder, names)
    return fingerprint.hex


def _listing(source: str, step: Callable[[], None]) -> str:
    fingerprint = Fingerprint()
    for folder, items, fault in walk(source, step):
        fingerprint.add(folder, items, fault)
    return fingerprint.hex


def _overlap(source: str, target: str) -> bool:
    """Return whether one folder lies in the other, also by another mount of it."""
    inner, outer = _above(source), _above(target)
    return inner[0] in outer or outer[0] in inner


def _above(folder: str) -> list[tuple[int, int]]:
    """Return device and inode of a folder and of each one above it."""
    place, found = os.path.realpath(folder), []
    while True:
        status = os.stat(place)  # noqa: PTH116
        found.append((status.st_dev, status.st_ino))
        if place == "/":
            return found
        place = os.path.dirname(place)  # noqa: PTH120


def _has_no_findings(target: str) -> bool:
    """Return whether proofs.json names nothing that is damaged or rotten."""
    try:
        digest, _, text = _read(f"{target}/{PROOFS}").partition(b"\n")
    except FileNotFoundError:
        return True
    right = sha256(text.removesuffix(b"\n")).hexdigest().encode("ascii") == digest
    return right and all(line in text for line in _NO_FINDINGS)


def _load(target: str) -> dict[str, Any]:
    """Return what the file says; raises :class:`OSError` and :class:`ValueError`."""
    digest, _, text = _read(f"{target}/{UNCHANGED}").partition(b"\n")
    if sha256(text).hexdigest().encode("ascii") != digest:
        raise ValueError(f"{UNCHANGED} does not match its own checksum")
    body: dict[str, Any] = json.loads(text)
    if body["version"] != _VERSION:
        raise ValueError(f"{UNCHANGED} is of another version")
    return body


def _write(target: str, body: Mapping[str, object]) -> None:
    """Replace the file; raises :class:`OSError`. It need not reach the disk: half of it proves nothing."""
    text = json.dumps({**body, "version": _VERSION}).encode("ascii") + b"\n"
    new = f"{target}/.{UNCHANGED}.new"
    with open(new, "wb") as file:  # noqa: PTH123
        file.write(sha256(text).hexdigest().encode("ascii") + b"\n" + text)
    os.replace(new, f"{target}/{UNCHANGED}")  # noqa: PTH105


def _hash(path: str) -> str:
    """Return the SHA-256 of a file, read in portions: that is faster than in memory that is new."""
    digest, block = sha256(), memoryview(bytearray(_BLOCK))
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def _end(path: str, count: int) -> bytes:
    """Return the last ``count`` bytes of a file."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        file.seek(-count, os.SEEK_END)
        return file.read()
