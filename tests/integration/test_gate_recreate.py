"""A real container is created anew through the gate, which makes the copy itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.gated import GatedActions
from aiidpd.components.containers.heal.protocols import NotRecreated, Recreated
from aiidpd.kernel.errors import Unavailable
from tests.daemon import Daemon, running, start
from tests.fakes.docker_engine import RealDocker
from tests.fakes.gate import RunningGate, message, parted, running_gate
from tests.integration.recreate_site import ACTS, Faulty, Site
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.real("docker"), pytest.mark.usefixtures("only_healer")]


@pytest.fixture
def gate(docker: RealDocker, tmp_path: Path) -> Iterator[RunningGate]:
    with running_gate(docker.socket, tmp_path) as found:
        yield found


@pytest.fixture
async def site(docker: RealDocker, gate: RunningGate, tmp_path: Path) -> AsyncIterator[Site]:
    """A container with volumes, two networks and labels, seen through the gate."""
    site = Site(tmp_path, gate.socket, docker.name("site"))
    networks = [docker.name("one"), docker.name("two")]
    for network in networks:
        await docker.docker("network", "create", network)
    await docker.docker(
        "run", "-d", "--init", "--name", site.name, "--network", networks[0], "--network-alias", "engine",
        "-v", "/anonymous", "-v", f"{docker.name('volume')}:/data", "--label", "aiidpd.heal=recreate",
        "--restart", "unless-stopped", docker.image, "sleep", "600",
    )  # fmt: skip
    await docker.docker("network", "connect", networks[1], site.name)
    yield site
    left = await site.names()
    await docker.docker("rm", "-f", "-v", *left) if left else ""
    await docker.docker("network", "rm", *networks)
    await docker.docker("volume", "rm", "-f", docker.name("volume"))
    await site.aclose()


def gated(site: Site) -> GatedActions:
    return GatedActions(site.socket, call_timeout=PATIENCE)


async def test_a_container_is_created_anew_as_it_was(docker: RealDocker, site: Site) -> None:
    old, facts = await site.id(), await site.facts()
    await docker.docker("exec", site.name, "touch", "/anonymous/here", "/data/there")
    done = await site.recreate(actions=gated(site))
    assert done == Recreated(await site.id(), "inspect")
    assert done.identity != old
    assert await site.wrong(facts) == []
    await docker.docker("exec", site.name, "test", "-e", "/anonymous/here", "-a", "-e", "/data/there")


@pytest.mark.parametrize("how", ["before", "after", "refused"])
async def test_a_call_that_fails_at_any_step_loses_nothing(site: Site, how: str) -> None:
    facts = await site.facts()
    counting = Faulty(gated(site), kinds=ACTS)
    assert isinstance(await site.recreate(actions=counting), Recreated)
    for at in range(len(counting.calls)):
        faulty = Faulty(gated(site), at=at, how=how)
        try:
            await site.recreate(actions=faulty)
        except Unavailable:
            await site.recover()
        assert await site.wrong(facts) == [], f"call {at}, {faulty.calls[at]}, {how}"


async def test_what_may_be_restarted_alone_is_not_created_anew(
    docker: RealDocker, gate: RunningGate, tmp_path: Path
):
    name = docker.name("restarted")
    old = await docker.run("restarted", "--label", "aiidpd.heal=restart")
    site = Site(tmp_path, gate.socket, name)
    done = await site.recreate(actions=gated(site))
    assert isinstance(done, NotRecreated)
    assert "neither a label of it (aiidpd.heal=recreate)" in done.reason
    assert (await site.id(), await site.names()) == (old, [name])
    await site.aclose()


async def test_no_caller_adds_a_word_to_a_copy(gate: RunningGate, site: Site) -> None:
    copy = f"{site.name}-aiidpd-new-0123abcd"
    body = b'{"HostConfig":{"Privileged":true}}'
    head = f"POST /aiidpd/copies/{site.name}?name={copy} HTTP/1.1\r\nHost: d\r\n"
    status, _ = parted(gate.ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body))
    assert status == 400
    assert await site.names() == [site.name]
    for name in (
        "other",
        f"{site.name}-aiidpd-old-0123abcd",
        f"{site.name}-aiidpd-new-0123abcd&Privileged=true",
    ):
        assert gate.get(f"/aiidpd/copies/{site.name}?name={name}", "POST")[0] == 403
    assert gate.get(f"/aiidpd/copies/{site.name}?name={copy}", "POST")[0] == 201
    described = await site.describe(copy)
    assert described["HostConfig"]["Privileged"] is False
    assert described["State"]["Status"] == "created"
    status, answer = gate.get(f"/aiidpd/copies/{site.name}?name={copy}", "POST")
    assert (status, "already in use" in message(answer)) == (409, True)


async def test_the_last_of_its_name_is_never_removed_and_no_other_name_is_given(site: Site) -> None:
    actions, old = gated(site), await site.id()
    await actions.stop(old, 0)
    with pytest.raises(Refused, match="the last of its name"):
        await actions.remove(old)
    with pytest.raises(Refused, match="a name of its own re-creation"):
        await actions.rename(old, "other")
    put_aside = f"{site.name}-aiidpd-old-0123abcd"
    assert await actions.rename(old, put_aside)
    with pytest.raises(Refused, match="the last of its name"):
        await actions.remove(old)
    assert await actions.rename(old, site.name)
    with pytest.raises(Refused, match="makes copies alone"):
        await actions.create("other", {})
    with pytest.raises(Refused, match=r"aiidpd\.upgrade=allow"):
        await actions.pull("busybox", lambda _: None, container=site.name)
    await actions.aclose()


def ctl(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", str(daemon.folder / "run/control.sock")]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.fixture
def behind(gate: RunningGate) -> dict[str, str]:
    """Settings of a daemon that reaches Docker through the gate."""
    return {
        "AIIDPD_CONTAINERS__ENGINE": "docker",
        "AIIDPD_CONTAINERS__GATE": "true",
        "AIIDPD_CONTAINERS__SOCKET": str(gate.socket),
    }


async def test_a_daemon_behind_the_gate_creates_anew_what_allows_it_and_says_why_not_else(
    docker: RealDocker, behind: dict[str, str], tmp_path: Path
) -> None:
    allowed, other = docker.name("allowed"), docker.name("other")
    old = await docker.run("allowed", "--label", "aiidpd.heal=recreate")
    kept = await docker.run("other", "--label", "aiidpd.heal=restart")
    with running(tmp_path, behind) as daemon:
        until(
            lambda: other in ctl(daemon, "containers").stdout and allowed in ctl(daemon, "containers").stdout
        )
        done = ctl(daemon, "containers", "heal", allowed, "--recreate")
        assert done.returncode == 0, done.stdout + done.stderr
        refused = ctl(daemon, "containers", "heal", other, "--recreate")
        assert refused.returncode == 1
        assert "aiidpd.heal=recreate" in refused.stdout + refused.stderr
    assert await docker.docker("inspect", "-f", "{{.Id}} {{.State.Status}}", allowed) != f"{old} running"
    assert await docker.docker("inspect", "-f", "{{.State.Status}}", allowed) == "running"
    assert await docker.docker("inspect", "-f", "{{.Id}} {{.State.Status}}", other) == f"{kept} running"


async def test_a_daemon_that_is_killed_meanwhile_finishes_it_through_the_gate(
    docker: RealDocker, behind: dict[str, str], tmp_path: Path
) -> None:
    name = docker.name("killed")
    await docker.run("killed", "--label", "aiidpd.heal=recreate")
    killed = start(tmp_path, behind)
    try:
        until(lambda: name in ctl(killed, "containers").stdout)
        assert ctl(killed, "containers", "heal", name, "--recreate", "--no-wait").returncode == 0
        await anyio.sleep(0.5)
    finally:
        killed.process.kill()
        killed.process.wait()
    with running(tmp_path, behind) as daemon:

        def settled() -> bool:
            asked = ctl(daemon, "containers", "healing", "--json")
            state = json.loads(asked.stdout) if asked.returncode == 0 else {"containers": []}
            mine = [each for each in state["containers"] if each["name"] == name]
            inspect = ["docker", "inspect", "-f", "{{.State.Running}}", name]
            runs = (
                subprocess.run(inspect, capture_output=True, text=True, check=False).stdout.strip() == "true"
            )
            return bool(mine) and mine[0]["decision"] != "healing" and runs

        until(settled, why=(tmp_path / "log").read_text)
    left = await docker.docker("ps", "-a", "--filter", f"name={name}", "--format", "{{.Names}} {{.State}}")
    assert left == f"{name} running"
