from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.platform import trust

OURS = os.geteuid()
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def test_what_is_ours_is_trusted_through_a_link_too(tmp_path: Path):
    folder = tmp_path / "real"
    folder.mkdir(0o750)
    (tmp_path / "link").symlink_to(folder)
    (folder / "a.json").write_text("{}")
    assert trust.of_folder(tmp_path / "link", {OURS}, {"a.json", "missing"}) is None


def test_what_does_not_exist_and_devices_are_not_judged(tmp_path: Path):
    assert trust.of_file(tmp_path / "none", {OURS}) is None
    assert trust.of_folder(tmp_path / "none", {OURS}, {"x"}) is None
    assert trust.of_file(Path("/dev/null"), {OURS}) is None


def test_a_link_within_is_named_with_its_end(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "incidents").symlink_to(tmp_path / "elsewhere")
    found = trust.of_folder(tmp_path / "state", {OURS}, {"incidents"})
    assert found is not None
    assert found.path.name == "incidents"
    assert str(tmp_path / "elsewhere") in found.reason


@given(mode=st.integers(0, 0o777))
def test_a_file_is_refused_where_and_only_where_others_may_write_it(
    mode: int, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.getbasetemp() / "judged"
    path.touch()
    path.chmod(mode)
    found = trust.of_file(path, {OURS})
    path.chmod(0o600)
    assert (found is not None) == bool(mode & 0o002)


@root
def test_a_stranger_is_named(tmp_path: Path):
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 4711, -1)
    found = trust.of_folder(tmp_path, {0, 33}, ())
    assert found is not None
    assert "user 4711" in found.reason
    assert "user 0 or 33" in found.remedy
    assert trust.of_file(tmp_path) is None
