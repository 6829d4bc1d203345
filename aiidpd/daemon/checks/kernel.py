"""Checks of the kernel: control groups, pressure, and whether other users' processes are seen."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, ok, warning

ROOT: Final = Path("/")


def checks(_settings: Settings, _around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    return (Check("kernel", kernel),)


def kernel(root: Path = ROOT) -> Iterator[CheckResult]:
    """Yield what the kernel below ``root`` has of what the daemon uses."""
    yield ok(f"{platform.system()} {platform.release()}, {control_groups(root)}")
    if not (root / "proc/pressure/cpu").exists():
        cure = "boot with psi=1 on the kernel's command line to have pressure as a witness"
        yield warning("the kernel shows no pressure of CPU, memory and disks (PSI)", cure)
    if hides := _hidepid(root):
        cure = "mount /proc without it for the group of the daemon (gid=): else no process of others is seen"
        yield warning(f"/proc is mounted with {hides}", cure)


def control_groups(root: Path = ROOT) -> str:
    """Return the version of the control groups."""
    base = root / "sys/fs/cgroup"
    if (base / "cgroup.controllers").exists():
        return "control groups v2"
    if (base / "unified").is_dir():
        return "control groups v1, with v2 beside them for systemd (hybrid)"
    return "control groups v1" if (base / "memory").is_dir() else "no control groups in sight"


def _hidepid(root: Path) -> str:
    try:
        mounts = (root / "proc/self/mounts").read_text(errors="replace")
    except OSError:
        return ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[1] == "/proc" and os.path.basename(fields[2]) == "proc":  # noqa: PLR2004, PTH119 -- fstab(5)
            return next((each for each in fields[3].split(",") if each.startswith("hidepid=")), "")
    return ""
