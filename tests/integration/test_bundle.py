"""The archive for a report of a fault, made beside a daemon that runs, and after it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.daemon import start
from tests.unit.daemon.bundle.hiding import ways
from tests.waiting import PATIENCE

KEY = "kQ7fVx2RmZ9sLw4TnB8yHc3JdP6gEa5U"
AIIDPCTL = Path(sys.executable).parent / "aiidpctl"
ENDPOINT = f'[[bench.endpoints]]\nname = "k"\nurl = "http://127.0.0.1:1"\nmodel = "m"\napi_key = "{KEY}"\n'


def bundle(folder: Path, name: str) -> tuple[dict[str, str], str]:
    """Return the members of a new archive by name, and what the command said."""
    command = [AIIDPCTL, "--socket", folder / "run/control.sock", "bundle", folder / f"{name}.tar.gz"]
    command += ["--config", folder / "aiidpd.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    members = {}
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        for each in archive.getmembers():
            file = archive.extractfile(each)
            assert file is not None
            members[Path(each.name).name] = file.read().decode()
    return members, done.stdout + done.stderr


def test_it_has_more_while_the_daemon_runs_and_never_a_key(tmp_path: Path) -> None:
    daemon = start(tmp_path, more=ENDPOINT)
    try:
        daemon.wait_for("aiidpd_worker_up")
        live, told = bundle(daemon.folder, "live")
    finally:
        daemon.process.kill()
        daemon.process.wait()
    assert json.loads(live["status.json"])["version"]
    assert "aiidpd_build_info" in live["exposition.txt"]
    assert "daemon.starting" in live["events.jsonl"]
    assert {"gpus.json", "containers.json", "engines.json", "alerts.json"} <= set(live)
    dead, told_then = bundle(daemon.folder, "dead")
    assert "status.json" not in dead
    assert "daemon.starting" in dead["events.jsonl"]
    for text in (*live.values(), *dead.values(), told, told_then):
        assert [way for way in ways(KEY) if way in text] == []
