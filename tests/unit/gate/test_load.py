from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiidpd.gate.load import SettingsFile
from aiidpd.gate.settings import GateSettings, WrongSettings


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_without_a_file_the_defaults_hold_and_a_change_is_seen_at_once(tmp_path: Path):
    path = tmp_path / "gate.toml"
    file = SettingsFile(str(path))
    assert file.read() == GateSettings()
    write(path, 'engine = "/a.sock"')
    assert file.read().engine == "/a.sock"
    write(path, 'engine = "/other.sock"')
    assert file.read().engine == "/other.sock"
    path.unlink()
    assert file.read() == GateSettings()


@pytest.mark.parametrize("text", ["engine", 'engine = "x"', "[" * 3000, "a = 1"])
def test_a_file_that_cannot_be_names_itself(tmp_path: Path, text: str):
    path = tmp_path / "gate.toml"
    write(path, text)
    file = SettingsFile(str(path))
    for _ in range(2):
        with pytest.raises(WrongSettings, match=r"gate\.toml"):
            file.read()
    write(path, "users = []")
    assert file.read().users == ()


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_file_that_others_may_write_is_not_followed(tmp_path: Path, mode: int):
    path = tmp_path / "gate.toml"
    write(path, "users = []", mode)
    with pytest.raises(WrongSettings, match="written by others"):
        SettingsFile(str(path)).read()


def test_what_is_no_small_file_is_not_read(tmp_path: Path):
    with pytest.raises(WrongSettings, match="no file"):
        SettingsFile(str(tmp_path)).read()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(WrongSettings, match="no file"):
        SettingsFile(str(fifo)).read()
    large = tmp_path / "large"
    write(large, "#" * 70_000)
    with pytest.raises(WrongSettings, match="larger than"):
        SettingsFile(str(large)).read()
