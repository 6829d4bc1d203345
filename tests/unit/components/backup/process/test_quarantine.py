"""Bounds of the quarantine, and what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiidpd.components.backup.process import quarantine


def test_the_quarantine_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quarantine, "_MOST_FILES", 3)
    monkeypatch.setattr(quarantine, "_MOST_BYTES", 100)
    for number in range(6):
        path = tmp_path / f"bad{number}"
        path.write_bytes(bytes(10))
        assert quarantine.set_aside(tmp_path, path, f"{number}" * 64)
    assert {path.name[0] for path in (tmp_path / "quarantine").iterdir()} == {"3", "4", "5"}
    path.write_bytes(bytes(95))
    assert quarantine.set_aside(tmp_path, path, "6" * 64)
    assert {path.name[0] for path in (tmp_path / "quarantine").iterdir()} == {"6"}
    path.write_bytes(bytes(101))
    assert not quarantine.set_aside(tmp_path, path, "7" * 64)
    assert not quarantine.set_aside(tmp_path, tmp_path / "none", "8" * 64)


@pytest.mark.usefixtures("no_links")
def test_without_hard_links_small_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bad"
    path.write_bytes(b"bad")
    name = quarantine.set_aside(tmp_path, path, "0" * 64)
    assert (tmp_path / name).read_bytes() == path.read_bytes() == b"bad"
    monkeypatch.setattr(quarantine, "_MOST_COPIED", 2)
    assert not quarantine.set_aside(tmp_path, path, "1" * 64)
