"""Boot of the machine: what a driver forgets with it, nobody need restore."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def current_boot() -> str:
    """Return what names this boot of the machine; empty where the kernel does not give it."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
