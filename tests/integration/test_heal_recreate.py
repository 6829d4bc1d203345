"""A person has a container created anew, and a daemon is killed meanwhile: on the real Docker Engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.daemon import Daemon, running, start
from tests.fakes.docker_engine import RealDocker
from tests.waiting import PATIENCE, until

pytestmark = [
    pytest.mark.real("docker"),
    pytest.mark.usefixtures("only_healer"),
    pytest.mark.timeout(900),  # others that heal come first
]


def ctl(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", str(daemon.folder / "run/control.sock")]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def inspected(name: str) -> dict[str, Any]:
    done = subprocess.run(["docker", "inspect", name], capture_output=True, check=False)
    found = json.loads(done.stdout)
    return dict(found[0]) if found else {}


@pytest.fixture
def settings(docker: RealDocker) -> dict[str, str]:
    return {
        "AIIDPD_CONTAINERS__ENGINE": "docker",
        "AIIDPD_CONTAINERS__HEAL__DRY_RUN": "false",
        "AIIDPD_CONTAINERS__SOCKET": str(docker.socket),
    }


async def test_a_container_is_created_anew_by_a_command(
    docker: RealDocker, settings: dict[str, str], tmp_path: Path
) -> None:
    old = await docker.run("anew", "-e", "MODE=one", "--label", "team=llm")
    name = docker.name("anew")
    with running(tmp_path, settings) as daemon:
        until(lambda: name in ctl(daemon, "containers").stdout)
        plan = ctl(daemon, "containers", "heal", name, "--recreate", "--dry-run")
        assert plan.returncode == 0, plan.stderr
        assert "created anew" in plan.stdout
        assert inspected(name)["Id"] == old
        done = ctl(daemon, "containers", "heal", name, "--recreate")
        assert done.returncode == 0, done.stdout + done.stderr
        told = ctl(daemon, "events", "--kind", "container.recreated").stdout
        assert "created anew as the runtime describes it" in told
    new = inspected(name)
    assert new["Id"] != old
    assert new["State"]["Running"]
    assert "MODE=one" in new["Config"]["Env"]
    assert new["Config"]["Labels"] == {"team": "llm"}


@pytest.mark.parametrize("after", [0.3, 0.5, 1.6])
async def test_a_daemon_that_is_killed_meanwhile_finishes_it_at_its_next_start(
    docker: RealDocker, settings: dict[str, str], tmp_path: Path, after: float
) -> None:
    text = f"killed-{after:g}".replace(".", "-")
    await docker.run(text)
    name = docker.name(text)
    killed = start(tmp_path, settings)
    try:
        until(lambda: name in ctl(killed, "containers").stdout)
        assert ctl(killed, "containers", "heal", name, "--recreate", "--no-wait").returncode == 0
        await anyio.sleep(after)
    finally:
        killed.process.kill()
        killed.process.wait()
    with running(tmp_path, settings) as daemon:

        def settled() -> bool:
            state = json.loads(ctl(daemon, "containers", "healing", "--json").stdout or '{"containers": []}')
            mine = [each for each in state["containers"] if each["name"] == name]
            healing = not mine or mine[0]["decision"] == "healing"
            return not healing and bool(inspected(name).get("State", {}).get("Running"))

        until(settled, why=(tmp_path / "log").read_text)
    left = await docker.docker("ps", "-a", "--filter", f"name={name}", "--format", "{{.Names}} {{.State}}")
    assert left == f"{name} running"
