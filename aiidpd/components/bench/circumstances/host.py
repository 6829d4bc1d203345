"""Circumstances of this machine: kernel and governor of the CPU's clock."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

_POLICIES: Final = Path("/sys/devices/system/cpu/cpufreq")
_LONGEST: Final = 40  # characters of a governor's name
_MOST: Final = 1024


def read_host(policies: Path = _POLICIES) -> dict[str, str | None]:
    """Return the kernel's release and the governors of all CPUs, the most frequent first. Blocks."""
    return {"kernel": os.uname().release, "CPU governor": _governors(policies)}


def _governors(policies: Path) -> str | None:
    """Return None where the kernel has no governor, as in most virtual machines."""
    found: Counter[str] = Counter()
    for path in sorted(policies.glob("policy*/scaling_governor"))[:_MOST]:
        try:
            found[path.read_text(encoding="ascii", errors="replace").strip()[:_LONGEST]] += 1
        except OSError:
            continue
    return ", ".join(name for name, _ in found.most_common()) or None
