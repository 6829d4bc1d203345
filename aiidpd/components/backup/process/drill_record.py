"""Record of drills: when each content was last restored and was right: ``drills.json`` of a target.

Where it is lost or damaged, every content counts as never restored.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from aiidpd.platform.atomic import write_atomic

DRILLS: Final = "drills.json"
_VERSION: Final = 1
_MOST_PAST: Final = 50


@dataclass(slots=True)
class Drills:
    """Outcomes of drills; times in Unix seconds.

    ``restored`` and ``failed`` map the SHA-256 of a content to when it last was restored, or could not be.
    ``past`` are the last drills, the newest last: time, snapshot, files, bytes, seconds, and how many failed.
    """

    restored: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    past: list[dict[str, float | str]] = field(default_factory=list)

    def forget(self, known: AbstractSet[str]) -> None:
        """Drop the contents that no snapshot has any more, and drills that are long past."""
        self.restored = {sha256: at for sha256, at in self.restored.items() if sha256 in known}
        self.failed = {sha256: at for sha256, at in self.failed.items() if sha256 in known}
        del self.past[:-_MOST_PAST]


def dump_drills(drills: Drills) -> bytes:
    """Return the file's content: a line with the SHA-256 of the rest, so that a flipped bit shows."""
    text = json.dumps({"version": _VERSION, **asdict(drills)}, indent=0, sort_keys=True, allow_nan=False)
    data = text.encode("ascii")
    return hashlib.sha256(data).hexdigest().encode("ascii") + b"\n" + data + b"\n"


def load_drills(data: bytes) -> Drills:
    """Read what :func:`dump_drills` wrote; raises :class:`ValueError` that names the fault."""
    digest, _, text = data.partition(b"\n")
    text = text.removesuffix(b"\n")
    if hashlib.sha256(text).hexdigest().encode("ascii") != digest:
        raise ValueError(f"{DRILLS} does not match its own checksum")
    try:
        body = json.loads(text)
        if body.pop("version") != _VERSION:
            raise ValueError(f"{DRILLS} is of another version")
        drills = Drills(**body)
    except (RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{DRILLS} is incomplete: {error}") from error
    times = (drills.restored, drills.failed)
    if not (all(map(_maps_to_time, times)) and isinstance(drills.past, list)):
        raise ValueError(f"{DRILLS} holds values of the wrong type")
    return drills


def read_drills(target: Path) -> Drills:
    """Return what is known about ``target``. Blocks."""
    try:
        return load_drills((target / DRILLS).read_bytes())
    except (OSError, ValueError):
        return Drills()


def write_drills(target: Path, drills: Drills) -> None:
    """Replace the file of ``target``; raises :class:`OSError`. Blocks."""
    write_atomic(target / DRILLS, dump_drills(drills))


def _maps_to_time(found: Any) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(value, (int, float)) and math.isfinite(value) for value in found.values()
    )
