"""The gate before the real Docker Engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.info import DockerInfo
from tests.fakes.docker_engine import RealDocker
from tests.fakes.gate import RunningGate, parted, running_gate
from tests.fakes.smuggling import CORPUS
from tests.fakes.watched import watching
from tests.waiting import eventually

pytestmark = pytest.mark.real("docker")
NOBODY = "0" * 64
HEALED = ("--label", "aiidpd.heal=restart")


@pytest.fixture
def gate(docker: RealDocker, tmp_path: Path) -> Iterator[RunningGate]:
    with running_gate(docker.socket, tmp_path) as found:
        yield found


@pytest.fixture
async def actions(gate: RunningGate) -> AsyncIterator[DockerActions]:
    found = DockerActions(gate.socket)
    yield found
    await found.aclose()


async def state(docker: RealDocker, identity: str) -> str:
    return await docker.docker("inspect", "--format", "{{.State.Status}}", identity)


async def test_what_a_label_names_is_stopped_started_killed_and_restarted(
    docker: RealDocker, actions: DockerActions, gate: RunningGate
):
    one = await docker.run("acts", *HEALED)
    assert await actions.stop(one, 1)
    assert not await actions.stop(one, 1)
    assert await actions.start(one)
    assert not await actions.start(one)
    assert await actions.restart(one, 1)
    assert await actions.kill(one)
    await eventually(lambda: state(docker, one), lambda found: found == "exited")
    assert not await actions.kill(one)
    assert f"restart {docker.name('acts')} ({one[:12]})" in gate.logged()


async def test_what_nothing_names_is_left_alone_and_says_why(docker: RealDocker, actions: DockerActions):
    one = await docker.run("stranger", "--label", "aiidpd.heal=notify")
    for act in (actions.stop(one, 1), actions.kill(one), actions.restart(one, 1), actions.start(one)):
        with pytest.raises(Refused, match="neither a label of it"):
            await act
    assert await state(docker, one) == "running"


async def test_reading_goes_through_unchanged(docker: RealDocker, actions: DockerActions):
    one = await docker.run("read", command=("sh", "-c", "echo hello; sleep 600"))
    direct = DockerActions(docker.socket)
    try:
        assert await actions.describe(one) == await direct.describe(one)
        assert await actions.image(docker.image) == await direct.image(docker.image)
        assert await actions.network("bridge") == await direct.network("bridge")
        assert await actions.execs(one) == ()
        await docker.docker("exec", "-d", one, "sleep", "500")
        assert [each["ProcessConfig"]["entrypoint"] for each in await actions.execs(one)] == ["sleep"]

        async def read() -> bytes:
            tail = await actions.logs(one, lines=3)
            return b"".join(tail.lines) if tail else b""

        await eventually(read, lambda text: text.endswith(b"hello"))
        assert [each["Id"] for each in await actions.labelled(["no=such"])] == []
    finally:
        await direct.aclose()


async def test_what_is_gone_is_no_error_through_the_gate_either(actions: DockerActions):
    assert await actions.describe(NOBODY) is None
    assert await actions.logs(NOBODY, lines=1) is None
    assert not await actions.start(NOBODY)
    assert not await actions.stop(NOBODY, 0)
    assert not await actions.restart(NOBODY, 0)
    assert await actions.execs(NOBODY) == ()
    assert await actions.image("no/such:image") is None
    assert await actions.network("no-such-network") is None


async def test_nothing_is_created_renamed_removed_connected_or_pulled(
    docker: RealDocker, actions: DockerActions
):
    one = await docker.run("whole", *HEALED)
    body = {"Image": docker.image, "HostConfig": {"Privileged": True, "Binds": ["/:/host"]}}
    with pytest.raises(Refused, match="created through the gate under no condition"):
        await actions.create(docker.name("evil"), body)
    with pytest.raises(Refused, match="neither a label of it"):
        await actions.rename(one, docker.name("other"))
    await actions.stop(one, 0)
    for act in (actions.remove(one), actions.pull(docker.image, lambda _: None, container=one)):
        with pytest.raises(Refused, match="denies the request"):
            await act
    assert await actions.volume("no-such-volume") is None
    assert await state(docker, one) == "exited"


async def test_the_engine_s_description_goes_through(gate: RunningGate):
    source = DockerInfo(gate.socket)
    assert (await source.read()).version
    await source.aclose()


async def test_a_life_is_told_through_the_gate_as_it_happens(docker: RealDocker, gate: RunningGate):
    name = docker.name("life")
    async with watching(gate.socket) as watched:
        await docker.run("life")
        await watched.until(name, "appeared", "started")
        await docker.docker("kill", name)
        await watched.until(name, "appeared", "started", "died")
        await docker.docker("rm", name)
        await watched.until(name, "appeared", "started", "died", "removed")


@pytest.mark.parametrize("request_", CORPUS, ids=range(len(CORPUS)))
async def test_nothing_is_smuggled_into_the_real_engine(
    docker: RealDocker, gate: RunningGate, request_: bytes
):
    body = json.dumps({"Image": docker.image}).encode()
    answer = gate.ask(request_ + body, end=True)
    assert answer == b"" or parted(answer)[0] in (400, 403, 431)
    found = await docker.docker(
        "ps", "-aq", "--filter", f"ancestor={docker.image}", "--filter", "status=created"
    )
    assert found == ""
