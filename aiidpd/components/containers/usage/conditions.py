"""Conditions of what containers use: memory that only grows, processes that can't be killed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiidpd.components.containers.usage.growth import Exhaustion
from aiidpd.components.containers.usage.unkillable import Undying
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

SOURCE: Final = "containers"
GROWING: Final = "container_memory_growth"
UNKILLABLE: Final = "container_unkillable"
TYPES: Final = (GROWING, UNKILLABLE)
_MIB: Final = 1 << 20
_HOUR: Final = 3600.0


def growing(name: str, found: Exhaustion, wall: float) -> Condition:
    """Return the condition of a container whose memory will be used up; ``wall`` is now in Unix seconds."""
    date = datetime.fromtimestamp(wall + found.seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    reason = (
        f"its memory only grows, by {found.bytes_per_hour / _MIB:.0f} MiB an hour: from "
        f"{found.used_bytes / _MIB:.0f} MiB now it reaches {found.bound} at about {date}, in "
        f"{found.seconds / _HOUR:.1f} h"
    )
    remedy = (
        f"restart {name} before then, and see whether a newer or an older version of its image does the same"
    )
    return Condition(GROWING, name, Severity.WARNING, reason, remedy, source=SOURCE)


def unkillable(name: str, found: Undying) -> Condition:
    """Return the condition of a container with a process that does not die."""
    reason = f"it cannot be killed: {found.sentence()}"
    remedy = "reboot the machine: nothing else ends it; `dmesg` may say which driver or disk holds it"
    return Condition(UNKILLABLE, name, Severity.ERROR, reason, remedy, source=SOURCE)
