"""The whole daemon as a process: what it refuses to start on, how it reloads, how it ends.

Real time is spent on starting Python a dozen times.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aiidpd.api.client import ControlClient, RequestFailed
from aiidpd.history.schema import APPLICATION_ID, MIGRATIONS
from tests.daemon import SIMULATED_TASKS, WORKERS, Daemon, running, start
from tests.waiting import PATIENCE, until


def aiidpd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, which a refused start is."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIIDPD_")}
    command = [sys.executable, "-m", "aiidpd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=clean, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("state", "run"):
        (tmp_path / name).mkdir()
    file = tmp_path / "aiidpd.toml"
    file.write_text(
        f'[daemon]\nstate_directory = "{tmp_path}/state"\nruntime_directory = "{tmp_path}/run"\n'
        '[gpu]\nlibrary = "simulated"\n[containers]\nengine = "simulated"\n'
        '[telemetry]\nlisten = ""\n[control]\ngroup = ""\n'
    )
    return file


def client(daemon: Daemon) -> ControlClient:
    return ControlClient(str(daemon.folder / "run" / "control.sock"))


def last_on_disk(folder: Path) -> int:
    """Return the number of the last event that a kill would leave."""
    with closing(sqlite3.connect(f"file:{folder}/state/history.sqlite3?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0])


def wrong_type(file: Path) -> str:
    file.write_text(file.read_text() + '[history]\nkeep = "a while"\n')
    return r"aiidpd\.toml:\d+: history\.keep = \"a while\""


def unknown_key(file: Path) -> str:
    file.write_text(
        file.read_text().replace('library = "simulated"', 'library = "simulated"\ninterwal = "1s"')
    )
    return r"aiidpd\.toml:\d+: gpu\.interwal.*interval"


def no_file(file: Path) -> str:
    file.unlink()
    return r"aiidpd\.toml.*(No such file|does not exist|no such file)"


def a_file_where_the_socket_goes(file: Path) -> str:
    (file.parent / "run" / "control.sock").write_text("precious")
    return r"control\.sock"


def no_state_folder(file: Path) -> str:
    (file.parent / "state").rmdir()
    return r"state.*does not exist"


def a_newer_database(file: Path) -> str:
    with sqlite3.connect(file.parent / "state" / "history.sqlite3") as database:
        database.execute("CREATE TABLE future (x)")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return r"history\.sqlite3: it has schema version"


def unknown_admin(file: Path) -> str:
    file.write_text(file.read_text().replace('group = ""', 'group = ""\nadmins = ["nobody-of-this-name"]'))
    return r"control\.admins.*nobody-of-this-name"


@pytest.mark.parametrize(
    "spoil",
    [
        wrong_type,
        unknown_key,
        no_file,
        a_file_where_the_socket_goes,
        no_state_folder,
        a_newer_database,
        unknown_admin,
    ],
)
def test_a_start_that_cannot_be_ends_with_2_and_says_what_to_do(config: Path, spoil: Callable[[Path], str]):
    expected = spoil(config)
    before = {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file()}
    done = aiidpd("run", "--config", str(config))
    assert done.returncode == 2, done.stderr
    assert re.search(expected, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    for path, content in before.items():
        assert path.read_bytes() == content, f"{path} was changed"


def test_check_says_everything_that_is_wrong_at_once(config: Path):
    wrong_type(config)
    unknown_key(config)
    done = aiidpd("check", "--config", str(config))
    assert done.returncode == 2
    assert "history.keep" in done.stderr
    assert "gpu.interwal" in done.stderr
    assert done.stdout == ""


def test_check_is_content_with_a_good_file(config: Path):
    assert aiidpd("check", "--config", str(config)).returncode == 0


def test_a_second_instance_is_refused_and_the_first_runs_on(tmp_path: Path):
    with running(tmp_path) as daemon:
        daemon.wait_until_up()
        second = aiidpd("run", "--config", str(tmp_path / "aiidpd.toml"))
        assert second.returncode == 2
        assert f"pid {daemon.process.pid}" in second.stderr
        daemon.wait_until_up()


def test_it_leaves_nothing_behind_and_can_start_again(tmp_path: Path):
    with running(tmp_path) as daemon:
        daemon.wait_until_up()
    assert list((tmp_path / "run").iterdir()) == []
    events = (tmp_path / "log").read_text()
    assert "daemon.stopping" in events
    assert "daemon.stopped" in events


def test_a_killed_daemon_comes_back_with_its_history(tmp_path: Path):
    killed = start(tmp_path)
    try:
        killed.wait_for("aiidpd_bench_output_tokens_per_second")
        with client(killed) as control:
            before = control.get("/v1/events", limit=1000)["events"]
        until(lambda: last_on_disk(tmp_path) >= before[-1]["id"])
    finally:
        killed.process.kill()
        killed.process.wait()
    with running(tmp_path) as daemon:
        daemon.wait_until_up()
        with client(daemon) as control:
            after = control.get("/v1/events", limit=1000)["events"]
    assert after[: len(before)] == before
    ids = [event["id"] for event in after]
    assert ids == sorted(set(ids))


def test_a_good_reload_replaces_just_the_tasks_of_the_component_that_changed(tmp_path: Path):
    with running(tmp_path) as daemon:
        daemon.wait_until_up()
        file = tmp_path / "aiidpd.toml"
        file.write_text(file.read_text().replace("simulated_gpus = 2", "simulated_gpus = 5"))
        with client(daemon) as control:
            assert control.post("/v1/config/reload") == {"changed": ["gpu.simulated_gpus"]}
            until(lambda: len(control.get("/v1/gpus")["gpus"]) == 5)

            def replaced() -> set[str]:
                events = control.get("/v1/events", kind="worker.replaced")["events"]
                return {event["subject"] for event in events}

            until(lambda: "thermal.energy" in replaced())
            assert replaced() == {"thermal", "thermal.energy"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("simulated_gpus = 2", 'simulated_gpus = "many"'), "simulated_gpus"),
        (('listen = "', 'listen = "127.0.0.1:1"\n#'), "telemetry.listen"),
    ],
)
def test_a_bad_reload_changes_nothing(tmp_path: Path, change: tuple[str, str], reason: str):
    with running(tmp_path) as daemon:
        daemon.wait_until_up()
        file = tmp_path / "aiidpd.toml"
        # The good change beside the bad one must not take effect either.
        text = file.read_text().replace('interval = "1s"', 'interval = "2s"')
        file.write_text(text.replace(*change))
        with client(daemon) as control:
            before = control.get("/v1/config")
            with pytest.raises(RequestFailed, match=re.escape(reason)) as refused:
                control.post("/v1/config/reload")
            assert refused.value.status == 422
            assert control.get("/v1/config") == before
            events = control.get("/v1/events", kind="config.refused")["events"]
            assert reason in events[0]["reason"]
            assert control.get("/v1/status")["healthy"]


def test_sighup_reloads_and_systemd_is_told(tmp_path: Path):
    folder = tmp_path / "d"
    folder.mkdir()
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(address)
        notify.settimeout(PATIENCE)
        told: list[str] = []

        def hear(*words: str) -> None:
            while not told or not all(word in told[-1] for word in words):
                told.append(notify.recv(4096).decode())

        with running(folder, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"}) as daemon:
            hear("READY=1")
            hear("STATUS=", "SIMULATED", *(f"{worker} running" for worker in WORKERS))
            hear("WATCHDOG=1")
            daemon.process.send_signal(signal.SIGHUP)
            hear("RELOADING=1")
            hear("READY=1")
        hear("STOPPING=1")


def test_what_is_simulated_says_so_in_status_log_and_metrics(tmp_path: Path):
    with running(tmp_path) as daemon:
        text = daemon.wait_for("aiidpd_bench_output_tokens_per_second")
        with client(daemon) as control:
            workers = control.get("/v1/status")["workers"]
        simulated = {worker["name"] for worker in workers if worker["simulated"]}
        assert simulated == SIMULATED_TASKS
        for name in simulated:
            assert f'aiidpd_worker_simulated{{worker="{name}"}} 1.0' in text
        assert 'aiidpd_worker_simulated{worker="backup"} 0.0' in text
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line[:1] == "{"]
    text = (tmp_path / "log").read_text()
    assert lines or "SIMULATED" in text
    for source in ("thermal", "containers", "bench"):
        assert any(source in line and "SIMULATED" in line for line in text.splitlines()), source


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_help_that_cannot_be_written_is_one_sentence_and_exit_code_1(option: str):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aiidpd", option],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "aiidpd: cannot write: No space left on device\n")


def test_restoring_from_a_folder_that_does_not_exist_is_refused(tmp_path: Path):
    done = aiidpd("restore-gpus", "--state-directory", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr
