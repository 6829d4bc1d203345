"""Pins: snapshots that retention must not remove, each with the reason: ``pins.json`` of a target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.sealed import seal, unseal
from aiidpd.platform.atomic import write_atomic

PINS: Final = "pins.json"


def read(target: Path) -> dict[str, str]:
    """Return the reason of each pinned snapshot, by its id; raises :class:`OSError`, :class:`ValueError`."""
    try:
        found = unseal((target / PINS).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{PINS}: {error}") from error
    pinned = {snapshot: reason for snapshot, reason in found.items() if isinstance(reason, str)}
    if len(pinned) < len(found):
        raise ValueError(f"{PINS} does not map snapshots to reasons")
    return pinned


def write(target: Path, pinned: Mapping[str, str]) -> None:
    """Replace the file; raises :class:`OSError`."""
    write_atomic(target / PINS, seal(pinned))


def add(target: Path, snapshot: str, reason: str) -> None:
    """Pin ``snapshot``, and retain an earlier reason; raises :class:`OSError`, :class:`ValueError`."""
    pinned = read(target)
    if snapshot not in pinned:
        write(target, {**pinned, snapshot: reason})
