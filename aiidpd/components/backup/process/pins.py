"""Pins: snapshots that retention must not remove, each with the reason: ``pins.json`` of a target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiidpd.platform.atomic import write_atomic

PINS: Final = "pins.json"


def read(target: Path) -> dict[str, str]:
    """Return the reason of each pinned snapshot, by its id; raises :class:`OSError`, :class:`ValueError`."""
    try:
        found = json.loads((target / PINS).read_bytes())
    except FileNotFoundError:
        return {}
    except RecursionError:
        raise ValueError(f"{PINS} is nested too deeply") from None
    if not (isinstance(found, dict) and all(isinstance(reason, str) for reason in found.values())):
        raise ValueError(f"{PINS} does not map snapshots to reasons")
    return found


def write(target: Path, pinned: Mapping[str, str]) -> None:
    """Replace the file; raises :class:`OSError`."""
    write_atomic(target / PINS, json.dumps(dict(pinned), indent=1).encode("ascii") + b"\n")


def add(target: Path, snapshot: str, reason: str) -> None:
    """Pin ``snapshot``, and retain an earlier reason; raises :class:`OSError`, :class:`ValueError`."""
    pinned = read(target)
    if snapshot not in pinned:
        write(target, {**pinned, snapshot: reason})
