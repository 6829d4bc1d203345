"""Marker of a target: the file that says that snapshots belong here, and nowhere else.

A file system that is not mounted leaves an empty folder, on another disk: that one has no marker, and is not
filled.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import layout
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.sealed import seal, unseal
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.atomic import write_atomic

MARKER: Final = layout.MARKER
FORMAT: Final = 2
_TEXT: Final = (
    "Snapshots of aiidpd. Each folder in snapshots/ is whole, and can be copied from with any tool."
)


@dataclass(frozen=True, slots=True)
class Marker:
    """Identity of a target. ``created_at`` in Unix seconds."""

    id: str
    created_at: float
    format: int = FORMAT
    about: str = _TEXT


class Verdict(Enum):
    """Ways to treat a folder that is configured as target."""

    USE = "use"
    CREATE = "create"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Found:
    """Facts about a folder that is configured as target.

    ``expected`` is the id of the target that this daemon has used, empty for none. ``unmounted`` is the mount
    point at or above the folder that the machine should have mounted and has not, empty for none.
    ``snapshots`` says that there is a folder of snapshots, ``empty`` that there is nothing at all.
    """

    marker: Marker | None
    expected: str
    unmounted: str
    snapshots: bool
    empty: bool


def decide(found: Found) -> tuple[Verdict, str, str]:
    """Return how to treat a folder; with a refusal why and what to do (pure)."""
    return _decide_unmarked(found) if found.marker is None else _decide_marked(found.marker, found.expected)


def _decide_marked(marker: Marker, expected: str) -> tuple[Verdict, str, str]:
    if marker.format > FORMAT:
        reason = f"it was made by a newer aiidpd (format {marker.format}, this one knows {FORMAT})"
        return Verdict.REFUSE, reason, "upgrade aiidpd, or choose another folder"
    if expected and marker.id != expected:
        reason = f"it is another target ({marker.id[:8]}) than the one used so far ({expected[:8]})"
        return Verdict.REFUSE, reason, "mount the right disk, or `aiidpctl backup adopt` to use this one"
    return Verdict.USE, "", ""


def _decide_unmarked(found: Found) -> tuple[Verdict, str, str]:
    if found.unmounted:
        reason = f"{found.unmounted} is not mounted, though /etc/fstab names it"
        return Verdict.REFUSE, reason, f"mount it: mount {found.unmounted}"
    if found.expected:
        reason = f"it has no {MARKER}: it is not the folder that holds the snapshots so far"
        remedy = "mount the disk with the snapshots, or `aiidpctl backup adopt` to begin anew here"
        return Verdict.REFUSE, reason, remedy
    if found.empty or found.snapshots:
        return Verdict.CREATE, "", ""
    reason = f"it holds other files and no {MARKER}"
    return Verdict.REFUSE, reason, "choose an empty folder, or `aiidpctl backup adopt` to use it as it is"


def load_marker(data: bytes) -> Marker:
    """Read a marker; raises :class:`ValueError` that names the fault (pure)."""
    try:
        document = unseal(data)
    except ValueError as error:
        raise ValueError(f"{MARKER}: {error}") from error
    identity, created_at, format_ = (document.get(name) for name in ("id", "created_at", "format"))
    if not (
        isinstance(identity, str)
        and identity
        and isinstance(created_at, int | float)
        and isinstance(format_, int)
    ):
        raise ValueError(f"{MARKER} holds values of the wrong type")
    return Marker(identity, created_at, format_)


def read_marker(target: Path) -> Marker | None:
    """Return the marker of ``target``, None where there is none; raises :class:`Unavailable`. Blocks."""
    try:
        return load_marker((target / MARKER).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise target_fault(str(target / MARKER), error) from error
    except ValueError as error:
        remedy = f"compare it with its snapshots, remove it, then `aiidpctl backup adopt` ({MARKER})"
        raise Unavailable("use the backup target", str(target), reason=str(error), remedy=remedy) from error


def examine(target: Path, expected: str, fstab: Path = Path("/etc/fstab")) -> Found:
    """Return the facts about ``target``; raises :class:`Unavailable`. Blocks."""
    marker = read_marker(target)
    try:
        names = set(os.listdir(target))  # noqa: PTH208 -- names alone
    except OSError as error:
        raise target_fault(str(target), error) from error
    unmounted = "" if marker is not None else unmounted_above(target, _fstab(fstab))
    names.discard("lost+found")
    return Found(marker, expected, unmounted, "snapshots" in names, not names - {".lock"})


def create(target: Path, now: float) -> Marker:
    """Give ``target`` a marker; raises :class:`OSError`. Blocks."""
    marker = Marker(str(uuid.uuid4()), now)
    write_atomic(target / MARKER, seal(asdict(marker)))
    return marker


def unmounted_above(target: Path, mount_points: Iterable[str]) -> str:
    """Return the mount point at or above ``target`` that should be mounted and is not; empty for none."""
    place = os.path.realpath(target)
    for point in sorted(mount_points, key=len, reverse=True):
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if point != "/" and inside and not os.path.ismount(point):
            return point
    return ""


def _fstab(path: Path) -> list[str]:
    """Return the mount points that a file such as /etc/fstab names."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [_unescaped(row[1]) for row in rows if len(row) > 1 and row[1].startswith("/")]


def _unescaped(text: str) -> str:
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\134", "\\")):
        text = text.replace(code, plain)
    return text
