"""A register of stopped containers in a folder of a test."""

from __future__ import annotations

from pathlib import Path

from aiidpd.components.containers.stopped import NAME, StoppedContainers, StoppedRecords
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.platform.statefile import StateFile


def register(folder: Path, clock: Clock, conditions: Conditions | None = None) -> StoppedContainers:
    """Return the register of a daemon whose state folder is ``folder``."""
    found = Conditions(clock, EventBus()) if conditions is None else conditions
    return StoppedContainers(StateFile(folder / NAME, StoppedRecords), found, clock)
