"""The gate's units, judged by systemd's own measure."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_gate_exposes_little(tmp_path: Path, missing: Callable[[str, str], None]):
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze", "apt-get install systemd")
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for name in ("aiidpd-gate.service", "aiidpd-gate.socket"):
        shutil.copy(ROOT / "packaging" / "systemd" / name, units)
    command = ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}", "--threshold=10"]
    done = subprocess.run([*command, "aiidpd-gate.service"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
