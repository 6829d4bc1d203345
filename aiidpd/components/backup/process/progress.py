"""Progress of the work of the backup process (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the present phase; ``at`` is the file that the work is at. ``bytes`` are those in all."""

    phase: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int
    at: str = ""
    paused: str = ""
