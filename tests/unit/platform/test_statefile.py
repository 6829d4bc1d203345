from __future__ import annotations

from pathlib import Path

import pytest

from aiidpd.platform.statefile import JsonFile


def test_what_was_written_last_is_there_in_the_end(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "kept.json")
    assert file.read() is None
    for number in range(200):
        file.write(b"%d" % number)
    file.wait(10)
    assert JsonFile(tmp_path / "kept.json").read() == b"199"
    assert file.problem == ""
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]
    assert (tmp_path / "kept.json").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_refuses_is_told_until_it_takes_it(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "gone" / "kept.json")
    file.write(b"1")
    file.wait(10)
    assert "cannot write" in file.problem
    (tmp_path / "gone").mkdir()
    file.write(b"2")
    file.wait(10)
    assert file.problem == ""
    assert file.read() == b"2"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_bytes(b"x" * 11)
    assert JsonFile(tmp_path / "kept.json", largest=11).read() == b"x" * 11
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        JsonFile(tmp_path / "kept.json", largest=10).read()


def test_what_can_not_be_read_is_set_aside_under_one_name(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        (tmp_path / "kept.json").write_bytes(content)
        JsonFile(tmp_path / "kept.json").set_aside()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json.unreadable"]
    assert (tmp_path / "kept.json.unreadable").read_bytes() == b"new"
