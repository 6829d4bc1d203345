"""`aiidpctl backup offsite` on a running daemon, with the password as a credential."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon import Daemon, running
from tests.fakes.offsite import PASSWORD, is_installed

pytestmark = pytest.mark.real("restic")

AIIDPCTL = Path(sys.executable).parent / "aiidpctl"


def aiidpctl(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    socket = daemon.folder / "run/control.sock"
    command = [str(AIIDPCTL), "--socket", str(socket), "backup", "offsite", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_repository_is_made_sent_to_verified_and_restored_from_by_commands(
    tmp_path: Path, missing: Callable[[str, str], None]
) -> None:
    if not is_installed("restic"):
        missing("restic", "apt-get install restic")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "aiidpd.offsite.repositories.far.password").write_text(f"{PASSWORD}\n")
    place = tmp_path / "there"
    more = f'\n[[offsite.repositories]]\nname = "far"\nrepository = "{place}"\nschedule = "2100-01-01"\n'
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    with running(tmp_path, environment, more=more) as daemon:
        daemon.wait_for("aiidpd_backup_last_success_timestamp_seconds", "aiidpd_backup_offsite_running")
        listed = aiidpctl(daemon, "list")
        assert "far" in listed.stdout, listed.stderr
        refused = aiidpctl(daemon, "run", "far")
        assert refused.returncode == 1
        assert "aiidpctl backup offsite init far" in refused.stderr
        assert not place.exists()
        for words in (("init", "far"), ("run", "far"), ("verify", "far", "--all")):
            done = aiidpctl(daemon, *words)
            assert done.returncode == 0, done.stderr
        out = tmp_path / "restored"
        done = aiidpctl(daemon, "restore", "far", "--to", str(out))
        assert done.returncode == 0, done.stderr
        assert "each proven by its SHA-256" in done.stdout
        assert aiidpctl(daemon, "restore", "far", "--to", str(out)).returncode == 1
        assert aiidpctl(daemon, "restore", "far", "--to", str(daemon.folder / "models/x")).returncode == 1
        assert aiidpctl(daemon, "run", "near").returncode == 1
        (shown,) = json.loads(aiidpctl(daemon, "list", "--json").stdout)["repositories"]
        assert shown["covered_at"] is not None
        assert shown["damage"] == shown["error"] == ""
        daemon.wait_for("aiidpd_backup_offsite_covered_timestamp_seconds")
    state = tmp_path / "state"
    assert PASSWORD not in (state / "offsite.json").read_text()
    assert PASSWORD not in (tmp_path / "log").read_text()
