"""What others may change, a state folder or a configuration, is refused: at start, and by the check."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiidpd.__main__ import main
from aiidpd.daemon.folders import refuse_unsafe_state
from aiidpd.kernel.errors import Misconfigured

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AIIDPD_")]:
        monkeypatch.delenv(name)
    for name in ("state", "run"):
        (tmp_path / name).mkdir(0o750)
    path = tmp_path / "aiidpd.toml"
    path.write_text(
        f'[daemon]\nstate_directory = "{tmp_path}/state"\nruntime_directory = "{tmp_path}/run"\n'
        '[telemetry]\nlisten = ""\n[control]\ngroup = ""\n'
    )
    path.chmod(0o600)
    return path


def check(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["check", "--config", str(config)])
    return code, capsys.readouterr().err


def refused_twice(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """Expect that the check and a start refuse, with exit code 2 and each of ``words``."""
    for command in ("check", "run"):
        assert main([command, "--config", str(config)]) == 2
        told = capsys.readouterr().err
        assert [word for word in words if word not in told] == [], told


def test_a_sound_one_can_be_used_and_nothing_is_lacking(config: Path, capsys: pytest.CaptureFixture[str]):
    assert check(config, capsys) == (0, "aiidpd: the configuration can be used\n")


def test_a_folder_that_all_may_write(config: Path, capsys: pytest.CaptureFixture[str]):
    (config.parent / "state").chmod(0o777)
    refused_twice(config, capsys, "every user of this machine may write it (mode 0777)", "chmod o-w")


@pytest.mark.parametrize(
    "name", ["history.sqlite3", "incidents", "alerts.json", "lock", "history.sqlite3-wal"]
)
def test_a_link_in_the_state_folder(name: str, config: Path, capsys: pytest.CaptureFixture[str]):
    (config.parent / "state" / name).symlink_to(config.parent / "elsewhere")
    refused_twice(config, capsys, f"{name} can't be trusted", "it is a link to", "mount it here")
    assert not (config.parent / "elsewhere").exists()


def test_incidents_that_all_may_write(config: Path, capsys: pytest.CaptureFixture[str]):
    incidents = config.parent / "state" / "incidents"
    incidents.mkdir()
    incidents.chmod(0o777)
    refused_twice(config, capsys, "incidents can't be trusted")


def test_a_link_with_another_name_is_no_concern(config: Path, capsys: pytest.CaptureFixture[str]):
    (config.parent / "state" / "backup").symlink_to("/nonexistent")
    assert check(config, capsys)[0] == 0


@root
def test_a_folder_of_a_stranger(config: Path, capsys: pytest.CaptureFixture[str]):
    state = config.parent / "state"
    os.chown(state, 4711, 4711)
    with pytest.raises(Misconfigured, match="it belongs to user 4711"):
        refuse_unsafe_state(state)
    assert main(["run", "--config", str(config)]) == 2
    assert "it belongs to user 4711" in capsys.readouterr().err
    assert check(config, capsys)[0] == 0  # root checks what the daemon's user runs
    (state / "history.sqlite3").touch()
    os.chown(state / "history.sqlite3", 815, 815)
    assert check(config, capsys)[0] == 2


def test_a_configuration_and_a_drop_in_that_all_may_write(config: Path, capsys: pytest.CaptureFixture[str]):
    folder = config.parent / "conf.d"
    folder.mkdir()
    drop_in = folder / "10.toml"
    drop_in.write_text("[gpu]\nwarning_celsius = 80\n")
    assert check(config, capsys)[0] == 0
    for path in (config, folder, drop_in):
        before = path.stat().st_mode
        path.chmod(0o777)
        refused_twice(config, capsys, str(path), "every user of this machine may write it")
        path.chmod(before)
    drop_in.unlink()
    folder.chmod(0o777)
    assert check(config, capsys)[0] == 0  # nothing was read from it


@root
def test_a_drop_in_of_a_stranger(config: Path, capsys: pytest.CaptureFixture[str]):
    folder = config.parent / "conf.d"
    folder.mkdir()
    (folder / "10.toml").write_text("[gpu]\nwarning_celsius = 80\n")
    os.chown(folder / "10.toml", 4711, 4711)
    refused_twice(config, capsys, "10.toml", "it belongs to user 4711")
    os.chown(config, 4711, 4711)  # then whoever wrote the one wrote the other
    assert check(config, capsys)[0] == 0


def test_the_check_says_what_a_start_would_lack(config: Path, capsys: pytest.CaptureFixture[str]):
    (config.parent / "run").rmdir()
    config.write_text(config.read_text().replace('group = ""', 'group = "nobody-has-this"'))
    code, told = check(config, capsys)
    assert code == 0
    assert "daemon.runtime_directory" in told
    assert "there is no group nobody-has-this" in told
    assert told.count("would fail") == 2
