"""Kernel and governor of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from aiidpd.components.bench.circumstances.host import read_host


def test_governors_are_named_the_most_frequent_first(tmp_path: Path):
    for number, governor in enumerate(["powersave", "performance", "performance"]):
        (tmp_path / f"policy{number}").mkdir()
        (tmp_path / f"policy{number}/scaling_governor").write_text(f"{governor}\n")
    (tmp_path / "policy3").mkdir()
    assert read_host(tmp_path) == {"kernel": os.uname().release, "CPU governor": "performance, powersave"}


def test_a_machine_without_governors_has_none(tmp_path: Path):
    assert read_host(tmp_path / "none")["CPU governor"] is None
