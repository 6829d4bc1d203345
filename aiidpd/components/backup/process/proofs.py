"""Proofs: when the bytes of each content on the target were last read and found right.

The file ``proofs.json`` beside the snapshots. It holds nothing that can't be found out again by reading;
where it is lost or damaged, every content counts as not proven yet.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiidpd.components.backup.process import layout, unchanged
from aiidpd.platform.atomic import write_atomic

PROOFS: Final = layout.PROOFS
_VERSION: Final = 2
_EARLIER: Final = (1,)  # versions that lack `checked` alone


@dataclass(slots=True)
class Proofs:
    """Knowledge about the contents of a target; keys are those of :func:`unit_key`. Times in Unix seconds.

    ``proven`` maps a content to when it was last read back whole and was right; ``damaged`` maps one that was
    not to the reason; ``rotten`` maps a path of the source that reads differently from what was backed up,
    though nothing has changed its times, to the SHA-256 that it reads as. ``confirmed`` maps a snapshot to
    when a later run found the source still as it is there; ``checked`` a path of the source to when it was
    last read and compared with what was backed up.
    """

    proven: dict[str, float] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    rotten: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, float] = field(default_factory=dict)
    checked: dict[str, float] = field(default_factory=dict)


def unit_key(sha256: str, place: str = "") -> str:
    """Return the key of a content: by its hash, and by its path where it is stored there alone."""
    return f"{sha256} {place}" if place else sha256


def dump_proofs(proofs: Proofs) -> bytes:
    """Return the file's content: a line with the SHA-256 of the rest, so that a flipped bit shows."""
    body = {
        "version": _VERSION,
        "proven": proofs.proven,
        "damaged": proofs.damaged,
        "rotten": proofs.rotten,
        "confirmed": proofs.confirmed,
        "checked": proofs.checked,
    }
    text = json.dumps(body, indent=0, sort_keys=True, allow_nan=False).encode("ascii")
    return hashlib.sha256(text).hexdigest().encode("ascii") + b"\n" + text + b"\n"


def load_proofs(data: bytes) -> Proofs:
    """Read what :func:`dump_proofs` wrote; raises :class:`ValueError` that names the fault."""
    digest, _, text = data.partition(b"\n")
    text = text.removesuffix(b"\n")
    if hashlib.sha256(text).hexdigest().encode("ascii") != digest:
        raise ValueError(f"{PROOFS} does not match its own checksum")
    try:
        body = json.loads(text)
        if body.pop("version") not in (_VERSION, *_EARLIER):
            raise ValueError(f"{PROOFS} is of another version")
        proofs = Proofs(**body)
    except (RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{PROOFS} is incomplete: {error}") from error
    times, texts = (proofs.proven, proofs.confirmed, proofs.checked), (proofs.damaged, proofs.rotten)
    if not (all(map(_maps_to_time, times)) and all(map(_maps_to_text, texts))):
        raise ValueError(f"{PROOFS} holds values of the wrong type")
    return proofs


def read_proofs(target: Path) -> tuple[Proofs, str]:
    """Return what is known about ``target``, and what is wrong with its file (empty: nothing). Blocks."""
    proofs, fault = Proofs(), ""
    try:
        proofs = load_proofs((target / PROOFS).read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        fault = str(error)
    proofs.confirmed.update(unchanged.confirmed(str(target)))
    return proofs, fault


def write_proofs(target: Path, proofs: Proofs) -> None:
    """Replace the file of ``target``; raises :class:`OSError`. Blocks."""
    write_atomic(target / PROOFS, dump_proofs(proofs))


def _maps_to_time(found: Any) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(value, (int, float)) and math.isfinite(value) for value in found.values()
    )


def _maps_to_text(found: Any) -> bool:
    return isinstance(found, Mapping) and all(isinstance(value, str) for value in found.values())
