"""Keys of real llama.cpp servers: made, verified and rotated, and found nowhere where they don't belong."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiidpd.components.secrets.decide import Answer
from aiidpd.components.secrets.engine import query
from aiidpd.components.secrets.store import new_key
from tests.daemon import Daemon, running
from tests.fakes import llama
from tests.fakes.llama import HOW_TO_GET, LlamaServer
from tests.fakes.llama_container import LlamaContainer, LlamaContainers
from tests.waiting import PATIENCE, until

NAME = "LLAMACPP_API_KEY"
CTL = [sys.executable, "-m", "aiidpd.cli.main"]


def secrets(folder: Path, *arguments: str, code: int = 0, socket: Path | None = None) -> tuple[str, str]:
    command = [*CTL, *(("--socket", str(socket)) if socket else ()), "secrets", *arguments]
    done = subprocess.run(
        [*command, "--folder", str(folder)], capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def key_of(folder: Path) -> str:
    return secrets(folder, "show", NAME)[0].strip()


def forms(key: str) -> dict[str, bytes]:
    """Return what a key looks like in the ways in which programs write bytes."""
    raw = bytes.fromhex(key)
    found = {"itself": key.encode(), "capitals": key.upper().encode(), "bytes": raw}
    for what, data in (("itself", key.encode()), ("bytes", raw), ("header", f"Bearer {key}".encode())):
        for start in range(3):  # wherever it stands in what was encoded
            text = base64.b64encode(bytes(start) + data)[4:-4]
            found[f"base64 of {what} at {start}"] = text
    found["hex of itself"] = key.encode().hex().encode()
    return found


def occurrences(keys: set[str], places: dict[str, bytes]) -> set[str]:
    return {
        f"{form} in {place}"
        for key in keys
        for form, data in forms(key).items()
        for place, content in places.items()
        if data in content
    }


@pytest.mark.parametrize("before", range(4))
def test_a_key_is_found_in_each_form_that_programs_write(before: int) -> None:
    key = new_key(256)
    text, raw = b"x" * before + key.encode() + b"yy", b"x" * before + bytes.fromhex(key) + b"yy"
    for written in (
        text,
        text.upper(),
        raw,
        base64.b64encode(text),
        base64.b64encode(raw),
        text.hex().encode(),
    ):
        assert occurrences({key}, {"file": b"before" + written + b"after"}), written
    assert occurrences({key}, {"file": new_key(4096).encode()}) == set()


class ProcessWatch:
    """Command lines and environments of every process on this machine, while something goes on."""

    def __init__(self) -> None:
        self.seen: dict[str, bytes] = {}
        self._ended = threading.Event()

    def read(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    content = (process / name).read_bytes()
                except OSError:
                    continue
                if content:
                    self.seen[f"{process.name}/{name}/{hash(content)}"] = content

    @contextmanager
    def watching(self) -> Iterator[None]:
        def watch() -> None:
            while not self._ended.wait(0.2):
                self.read()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()


@pytest.mark.real("llama")
def test_a_server_that_a_person_restarts(tmp_path: Path, missing: Callable[[str, str], None]) -> None:
    if llama.find_server() is None:
        missing("llama-server", HOW_TO_GET)
    keys = tmp_path / "keys"
    secrets(keys, "generate", NAME, "--user", "nobody")
    before = key_of(keys)
    with llama.running(tmp_path, "--api-key-file", str(keys / f"{NAME}.keys")) as server:
        secrets(keys, "set", NAME, "--url", server.url)
        out, _ = secrets(keys, "verify", NAME)
        assert f"ok       {server.url}: it accepts the key and refuses a wrong one" in out
        _, err = secrets(keys, "rotate", NAME, code=1)
        assert "it is not known what runs it; name it:" in err
        rotate_by_hand(keys, server)
        after = key_of(keys)
        assert after != before
        found = query(server.url, (before, after))
        assert found.keys == (Answer.REFUSED, Answer.ACCEPTED)
        secrets(keys, "verify", NAME)
        log = server.log.read_bytes()
    assert occurrences({before, after}, {"log": log}) == set()


def rotate_by_hand(keys: Path, server: LlamaServer) -> None:
    command = [*CTL, "secrets", "rotate", NAME, "--restart-yourself", "--folder", str(keys)]
    said = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("restart the server of"):
                server.stop()
                server.start()
        assert process.wait(PATIENCE) == 0, said
    assert sum(line.startswith("restart the server of") for line in said) == 2


@pytest.mark.real("docker")
@pytest.mark.real("llama")
@pytest.mark.usefixtures("only_healer")
@pytest.mark.timeout(900)  # others that heal come first
def test_a_container_through_the_daemon_s_heals_and_no_key_is_anywhere_else(
    tmp_path: Path, llama_containers: LlamaContainers
) -> None:
    keys, credentials, state = tmp_path / "keys", tmp_path / "credentials", tmp_path / "daemon"
    credentials.mkdir()
    state.mkdir()
    copy = credentials / "aiidpd.bench.endpoints.llama.api_key"
    secrets(keys, "generate", NAME, "--user", "daemon", "--copy", str(copy))
    container = llama_containers.run(
        "secrets",
        "--api-key-file",
        "/keys",
        labels=("aiidpd.heal=restart", "aiidpd.grace=60s", "aiidpd.drain=0s", "aiidpd.stop-grace=1s"),
        more_mounts=(f"{keys / f'{NAME}.keys'}:/keys:ro",),
    )
    secrets(keys, "set", NAME, "--url", container.url, "--container", container.name)
    before = key_of(keys)
    environment = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "AIIDPD_BENCH__INTERVAL": "60s",  # a schedule that is always due leaves no time for requests
        "AIIDPD_CONTAINERS__ENGINE": "docker",
        "AIIDPD_CONTAINERS__SOCKET": str(llama_containers.docker.socket),
    }
    more = f'\n[[bench.endpoints]]\nname = "llama"\nurl = "{container.url}"\nmodel = "tiny"\n'
    watch = ProcessWatch()
    with running(state, environment, more=more) as daemon, watch.watching():
        until_probed(daemon)
        socket = state / "run/control.sock"
        restarts = f"aiidpd restarts container {container.name}, the server"
        kill_at(restarts, keys, socket)
        _, err = secrets(keys, "rotate", NAME, socket=socket)
        assert "the rotation of LLAMACPP_API_KEY that has begun goes on" in err
        assert restarts in err
        assert "aiidpd reads its configuration and credentials again" in err
        after = key_of(keys)
        assert query(container.url, (before, after)).keys == (Answer.REFUSED, Answer.ACCEPTED)
        secrets(keys, "verify", socket=socket)
        until_probed(daemon)  # with the key that it was given meanwhile
        assert copy.read_text().strip() == after
        places = evidence_of(daemon, container)
    places |= files_below(state) | watch.seen
    assert any(name.endswith("history.sqlite3") for name in places)
    assert any("incident" in name for name in places), "each heal has written one"
    assert len(watch.seen) > 10
    assert occurrences({before, after}, places) == set()


def kill_at(line: str, keys: Path, socket: Path) -> None:
    """Rotate until ``line`` is said: the daemon restarts the server, and nobody waits for that any more."""
    command = [*CTL, "--socket", str(socket), "secrets", "rotate", NAME, "--folder", str(keys)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [each for each in iter(process.stderr.readline, f"{line}\n") if each or process.poll() is None]
        process.kill()
    assert process.returncode == -9, said


def until_probed(daemon: Daemon) -> None:
    """Wait until the endpoint was measured well: with the key that the daemon has."""
    command = [
        *CTL,
        "--socket",
        str(daemon.folder / "run/control.sock"),
        "bench",
        "run",
        "--endpoint",
        "llama",
    ]
    said = ""

    def well() -> bool:
        nonlocal said
        assert daemon.process.poll() is None, (daemon.folder / "log").read_text()
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        said = done.stdout + done.stderr
        return done.returncode == 0

    until(well, why=lambda: said)


def ctl(daemon: Daemon, *arguments: str) -> bytes:
    command = [*CTL, "--socket", str(daemon.folder / "run/control.sock"), "--json", *arguments]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).stdout


def evidence_of(daemon: Daemon, container: LlamaContainer) -> dict[str, bytes]:
    """Return what the daemon shows, and what Docker shows of the container."""
    found = {"metrics": daemon.exposition().encode()}
    for command in (
        "status",
        "events",
        "engines",
        "containers",
        "config show --origin",
        "jobs list",
        "alerts",
    ):
        found[command] = ctl(daemon, *command.split())
    for name, command in (("logs", "logs"), ("inspect", "inspect")):
        done = subprocess.run(["docker", command, container.name], check=True, capture_output=True)
        found[f"docker {name}"] = done.stdout + done.stderr
    assert re.search(rb"--api-key-file", found["docker inspect"])
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
