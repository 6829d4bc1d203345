from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiidpd.components.backup.checks import checks, source_folder, target_folder
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.contracts.checks import Outcome, Sandbox, Surroundings
from tests.tables import made

ME = Surroundings(os.geteuid(), frozenset(os.getgroups()), "me")
STRANGER = Surroundings(4711, frozenset({4711}), "aiidpd")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


def sandboxed(*, writable: tuple[str, ...] = (), shown: tuple[str, ...] = ()) -> Surroundings:
    box = Sandbox(strict=True, homes_hidden=True, writable=writable, shown=shown)
    return Surroundings(
        os.geteuid(), frozenset(os.getgroups()), "me", box, "/usr/lib/systemd/system/aiidpd.service"
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "models", tmp_path / "backup"
    source.mkdir()
    target.mkdir()
    (source / "x").touch()
    return source, target


def test_nothing_is_configured():
    [check] = checks(made(BackupSettings), ME)
    assert [each.outcome for each in check.run()] == [Outcome.OK]


def test_sound_folders(folders: tuple[Path, Path]):
    found = checks(BackupSettings(source=folders[0], target=folders[1]), ME)
    assert [each.name for each in found] == ["backup.source", "backup.target"]
    assert [each.outcome for each in found[0].run()] == [Outcome.OK]
    assert Outcome.FAILED not in {each.outcome for each in target_folder(folders[1], ME)}


def test_a_target_that_the_unit_does_not_let_be_written(folders: tuple[Path, Path]):
    found = list(target_folder(folders[1], sandboxed()))
    assert found[0].outcome is Outcome.FAILED
    assert f"ReadWritePaths={folders[1]}" in found[0].cure
    opened = sandboxed(writable=(str(folders[1]),))
    assert Outcome.FAILED not in {each.outcome for each in target_folder(folders[1], opened)}


def test_a_source_in_a_home_that_the_unit_hides():
    path = Path("/home/alice/models")
    first = next(iter(source_folder(path, sandboxed())))
    assert "is hidden from the service" in first.found
    assert "BindReadOnlyPaths=/home/alice/models" in first.cure
    assert "hidden" not in next(iter(source_folder(path, sandboxed(shown=(str(path),))))).found
    home = list(target_folder(Path("/home/alice/b"), sandboxed()))
    assert "BindPaths=/home/alice/b" in home[0].cure


def test_folders_that_are_missing_no_folders_or_empty(folders: tuple[Path, Path]):
    assert "does not exist" in next(iter(source_folder(folders[0] / "none", ME))).found
    assert "is no folder" in next(iter(target_folder(folders[0] / "x", ME))).found
    [empty] = source_folder(folders[1], ME)
    assert empty.outcome is Outcome.WARNING


def test_folders_that_the_daemons_user_may_not_use(folders: tuple[Path, Path]):
    source, target = folders
    source.chmod(0o700)
    target.chmod(0o755)
    if os.geteuid() in (0, 4711):
        source.parent.chmod(0o755)
    found = list(source_folder(source, STRANGER))
    assert found[-1].outcome is Outcome.FAILED
    assert "user aiidpd may not read" in found[-1].found
    assert "user aiidpd may not write to" in next(iter(target_folder(target, STRANGER))).found


@root
def test_a_target_of_somebody_else(folders: tuple[Path, Path]):
    os.chown(folders[1], 815, 815)
    [found] = target_folder(folders[1], ME)
    assert (found.outcome, "belongs to user 815" in found.found) == (Outcome.WARNING, True)
