"""How a llama-server of this machine was started, by the command lines of a /proc that a test writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from aiidpd.components.engines.processes import find_start
from aiidpd.engines.llamacpp import PROFILE, sleeps
from aiidpd.engines.profile import Start
from tests.ports import free_port
from tests.waiting import until

URL = "http://localhost:8080"
SERVER = ["/usr/bin/llama-server", "-m", "x.gguf"]


def process(
    proc: Path, pid: int | str, arguments: Sequence[str], cgroup: str = "0::/user.slice", environ: bytes = b""
) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"".join(each.encode() + b"\0" for each in arguments))
    (folder / "cgroup").write_text(cgroup)
    (folder / "environ").write_bytes(environ)


def test_it_is_found_by_its_program_and_port(tmp_path: Path) -> None:
    process(tmp_path, 1, ["init"])
    process(tmp_path, 2, [])
    process(tmp_path, 3, [*SERVER, "--port", "8081", "--sleep-idle-seconds", "9"])
    assert find_start(PROFILE, URL, tmp_path) is None
    process(tmp_path, 4, SERVER, environ=b"LLAMA_ARG_ALIAS=a\0")
    found = find_start(PROFILE, URL, tmp_path)
    assert found is not None
    assert found.arguments == tuple(SERVER)
    assert found.environment == {"LLAMA_ARG_ALIAS": "a"}
    other = find_start(PROFILE, "http://127.0.0.1:8081/v1", tmp_path)
    assert other is not None
    assert sleeps(other)


def test_one_in_a_container_or_of_another_machine_is_none(tmp_path: Path) -> None:
    process(tmp_path, 4, SERVER, cgroup=f"0::/system.slice/docker-{'a' * 64}.scope")
    assert find_start(PROFILE, URL, tmp_path) is None
    process(tmp_path, 5, SERVER)
    assert find_start(PROFILE, "http://gpu.lan:8080", tmp_path) is None
    assert find_start(PROFILE, "http://", tmp_path) is None


def test_processes_of_the_own_container_are_no_others(tmp_path: Path) -> None:
    own, other = (f"0::/docker/{letter * 64}" for letter in "ab")
    process(tmp_path, "self", [], cgroup=own)
    process(tmp_path, 4, [*SERVER, "--port", "8080"], cgroup=other)
    assert find_start(PROFILE, URL, tmp_path) is None
    process(tmp_path, 5, SERVER, cgroup=own)
    assert find_start(PROFILE, URL, tmp_path) == Start(tuple(SERVER), {})


def test_of_several_the_one_that_may_sleep_counts(tmp_path: Path) -> None:
    process(tmp_path, 4, SERVER)
    process(tmp_path, 5, [*SERVER, "--sleep-idle-seconds", "9"])
    process(tmp_path, 6, SERVER)
    found = find_start(PROFILE, URL, tmp_path)
    assert found is not None
    assert sleeps(found)


def test_a_process_that_is_gone_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    process(tmp_path, 4, SERVER)
    (tmp_path / "4" / "environ").unlink()
    found = find_start(PROFILE, URL, tmp_path)
    assert found is not None
    assert found.environment == {}


@pytest.mark.parametrize("idle", ["30", "-1"])
def test_a_real_process(idle: str) -> None:
    port = free_port()
    sleeping = [sys.executable, "-c", "input()", "llama-server", "-m", "x.gguf", "--port", str(port)]
    with subprocess.Popen([*sleeping, "--sleep-idle-seconds", idle], stdin=subprocess.PIPE) as running:
        command_line = Path(f"/proc/{running.pid}/cmdline")
        until(command_line.read_bytes)  # for a moment of its begin a program has none
        found = find_start(PROFILE, f"http://127.0.0.1:{port}")
        running.kill()
    assert found is not None
    assert sleeps(found) is (idle != "-1")
