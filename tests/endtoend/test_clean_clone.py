"""The README's two commands, from a clean clone on a Debian that has python3, pip, venv and make alone.

The packages come from where pip on this machine takes them: the container sees its configuration.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.endtoend.conftest import debian_root
from tests.endtoend.containers import LONG, ROOT, Machine, image, machine
from tests.waiting import PATIENCE

# Installs everything twice over the network and runs every test that needs no real part.
pytestmark = [pytest.mark.real("docker"), pytest.mark.long, pytest.mark.timeout(3600)]

HOME = "/home/someone"
CLONE = f"{HOME}/aiidpd"
# What pip needs to know of this machine's network, where it is set.
FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
VARIABLES = ("PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
SCRAPE = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.settimeout(5)
connection.sock.connect(sys.argv[1])
connection.request("GET", "/metrics")
sys.stdout.write(connection.getresponse().read().decode())
"""


class Clone:
    """A fresh clone in its container, used by somebody without any rights."""

    def __init__(self, on: Machine) -> None:
        self.machine = on

    def run(
        self, *command: str, check: bool = True, seconds: float = LONG
    ) -> subprocess.CompletedProcess[str]:
        script = 'cd "$0" && exec "$@"'
        return self.machine.run(
            "sh", "-c", script, CLONE, *command, user="someone", check=check, seconds=seconds
        )

    def ctl(self, *arguments: str) -> Any:
        socket = ["--socket", ".aiidpd/run/control.sock"]
        return json.loads(self.run(".venv/bin/aiidpctl", *socket, "--json", *arguments).stdout)

    def metrics(self) -> str:
        """Return what is served now, or nothing where nothing is served yet."""
        done = self.run("python3", "-c", SCRAPE, ".aiidpd/run/metrics.sock", check=False)
        return done.stdout

    def entries(self) -> set[str]:
        return set(self.run("ls", "-A").stdout.split())

    def processes(self) -> str:
        return self.machine.shell(
            'for p in /proc/[0-9]*; do [ "$(stat -c %U "$p" 2>/dev/null)" != someone ] || echo "$p"; done'
        )


@pytest.fixture(scope="module")
def clone(
    engine: None,  # noqa: ARG001 -- it must be there, and that is all
    missing: Callable[[str, str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Clone]:
    tar = debian_root("bare", missing)
    source = tmp_path_factory.mktemp("clone") / "aiidpd"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(source)], check=True)
    options = [f"--volume={path}:{path}:ro" for path in FILES if Path(path).exists()]
    options += [f"--env={name}" for name in VARIABLES if name in os.environ]
    name = "aiidpd-test-bare"
    with image(name, tar) as root, machine(name, root, options, ["sleep", "infinity"]) as bare:
        bare.shell("useradd --create-home someone")
        bare.copy(source, HOME)
        bare.shell(f"chown -R someone: {CLONE}")
        yield Clone(bare)


def known(metrics: str, name: str) -> bool:
    return any(line.startswith(name) for line in metrics.splitlines())


def test_make_run_runs_the_daemon_and_make_test_the_tests(clone: Clone, tmp_path: Path) -> None:
    before = clone.entries()
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = ["docker", "exec", "--user=someone", clone.machine.name]
        command += ["sh", "-euc", f"echo $$ >/tmp/group; cd {CLONE}; exec make run"]
        foreground = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        watch(clone, foreground, log)
        stop(clone, foreground, log)
    finally:
        foreground.kill()
        foreground.wait()
    assert clone.entries() - before <= {".venv", ".aiidpd"}
    assert set(clone.machine.shell(f"ls {HOME}").split()) == {"aiidpd"}

    tested = clone.run("env", "CI=1", "make", "test", check=False, seconds=1800)
    assert tested.returncode == 0, tested.stdout[-5000:] + tested.stderr
    assert " passed" in tested.stdout.splitlines()[-1]
    assert "skipped" in tested.stdout.splitlines()[-1]  # what needs a real part says so


def watch(clone: Clone, foreground: subprocess.Popen[bytes], log: Path) -> None:
    """See that all comes soon after the first sample. The time is real: so are network and daemon."""
    deadline = time.monotonic() + 1200  # installing comes first
    while not known(clone.metrics(), "aiidpd_gpu_temperature_celsius"):
        assert foreground.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    deadline = time.monotonic() + PATIENCE
    wanted = {
        "aiidpd_container_state",
        "aiidpd_backup_last_success_timestamp_seconds",
        "aiidpd_bench_output_tokens_per_second",
    }
    while lacking := {name for name in wanted if not known(clone.metrics(), name)}:
        assert time.monotonic() < deadline, f"no {lacking} in {PATIENCE:g} s: {log.read_text()}"
        time.sleep(0.5)
    metrics = clone.metrics()
    for worker in ("thermal", "containers", "bench"):
        assert f'aiidpd_worker_simulated{{worker="{worker}"}} 1' in metrics
    for worker in ("thermal", "containers", "backup", "bench"):
        assert f'aiidpd_worker_up{{worker="{worker}"}} 1' in metrics
    assert "SIMULATED" in log.read_text()
    status = clone.run(".venv/bin/aiidpctl", "--socket", ".aiidpd/run/control.sock", "status", check=False)
    assert "SIMULATED" in status.stdout
    # The snapshot holds the two models, and its own sums say that they are whole.
    sums = clone.run("find", ".aiidpd", "-name", "SHA256SUMS").stdout.split()
    assert sums
    folder = str(Path(sums[0]).parent)
    checked = clone.run("sh", "-euc", 'cd "$0" && sha256sum --check SHA256SUMS', folder).stdout
    assert ".safetensors: OK" in checked
    assert ".gguf: OK" in checked


def stop(clone: Clone, foreground: subprocess.Popen[bytes], log: Path) -> None:
    """Press Ctrl-C; nothing may be left running or listening."""
    clone.machine.shell("kill -INT -$(cat /tmp/group)")
    foreground.wait(PATIENCE)
    assert clone.processes() == "", log.read_text()
    assert clone.run("find", ".aiidpd/run", "-type", "s").stdout == ""
