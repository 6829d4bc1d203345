"""Acts on containers, on the real Docker Engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aiidpd.components.containers.actions import LogTail, Refused
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.docker.logstream import LINE_BYTES
from tests.fakes.docker_engine import RealDocker
from tests.waiting import eventually

pytestmark = pytest.mark.real("docker")
NOBODY = "0" * 64


@pytest.fixture
async def actions(docker: RealDocker) -> AsyncIterator[DockerActions]:
    found = DockerActions(docker.socket)
    yield found
    await found.aclose()


async def state(docker: RealDocker, identity: str) -> str:
    return await docker.docker("inspect", "--format", "{{.State.Status}}", identity)


async def test_a_container_is_stopped_started_killed_and_restarted(
    docker: RealDocker, actions: DockerActions
) -> None:
    one = await docker.run("acts")
    assert await actions.stop(one, 1)
    assert not await actions.stop(one, 1)
    assert await state(docker, one) == "exited"
    assert await actions.start(one)
    assert not await actions.start(one)
    first = (await actions.describe(one) or {})["State"]["StartedAt"]
    assert await actions.restart(one, 1)
    assert (await actions.describe(one) or {})["State"]["StartedAt"] > first
    assert await actions.kill(one)
    await eventually(lambda: state(docker, one), lambda found: found == "exited")
    assert not await actions.kill(one)


async def test_a_container_is_renamed_and_removed(docker: RealDocker, actions: DockerActions) -> None:
    one = await docker.run("named")
    assert await actions.rename(one, docker.name("renamed"))
    assert (await actions.describe(one) or {})["Name"] == f"/{docker.name('renamed')}"
    await actions.stop(one, 0)
    assert await actions.remove(one)
    assert not await actions.remove(one)
    assert await actions.describe(one) is None


async def test_a_container_is_created_and_connected_to_a_network(
    docker: RealDocker, actions: DockerActions
) -> None:
    network = await docker.docker("network", "create", docker.name("network"))
    try:
        body = {"Image": docker.image, "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none"}}
        alone = await actions.create(docker.name("made"), body)
        assert (await actions.describe(alone) or {})["State"]["Status"] == "created"
        bridged = await actions.create(
            docker.name("bridged"), {"Image": docker.image, "Cmd": ["sleep", "600"]}
        )
        assert await actions.connect(network, bridged, {"Aliases": ["other"]})
        networks = (await actions.describe(bridged) or {})["NetworkSettings"]["Networks"]
        assert networks[docker.name("network")]["Aliases"][0] == "other"
        await docker.docker("rm", "-f", alone, bridged)
    finally:
        await docker.docker("network", "rm", network)


async def test_the_newest_lines_of_a_log_come_with_their_times(
    docker: RealDocker, actions: DockerActions
) -> None:
    script = "for i in 1 2 3; do echo line $i; done; sleep 0.3; echo wrong >&2; sleep 600"
    one = await docker.run("speaks", command=("sh", "-c", script))

    async def read() -> tuple[bytes, ...]:
        return (await actions.logs(one, lines=2) or LogTail()).lines

    found = await eventually(read, lambda lines: b"wrong" in b"".join(lines))
    assert [line.split(b" ", 1)[1] for line in found] == [b"line 3", b"wrong"]
    assert all(line.startswith(b"20") for line in found)


async def logged(docker: RealDocker, text: str, script: str, *options: str) -> str:
    """Return the id of a container that ran ``script`` to its end."""
    one = await docker.run(text, *options, command=("sh", "-c", script))
    await eventually(lambda: state(docker, one), lambda found: found == "exited")
    return one


async def test_of_200000_quick_lines_the_newest_are_read(docker: RealDocker, actions: DockerActions) -> None:
    script = "i=0; while [ $i -lt 200000 ]; do echo $i; i=$((i+1)); done"
    one = await logged(docker, "quick", script)
    found = await actions.logs(one, lines=500)
    assert found is not None
    assert found.full
    assert found.complete
    assert [line.split(b" ")[1] for line in found.lines] == [
        b"%d" % number for number in range(199500, 200000)
    ]
    assert found.received < 100_000  # the runtime reads its file backwards


@pytest.mark.parametrize("options", [(), ("-t",)])
async def test_of_a_line_of_100_megabytes_a_little_is_held(
    docker: RealDocker, actions: DockerActions, options: tuple[str, ...]
) -> None:
    script = "dd if=/dev/zero bs=1048576 count=100 2>/dev/null"
    one = await logged(docker, f"long{len(options)}", script, *options)
    found = await actions.logs(one, lines=500)
    assert found is not None
    assert sum(map(len, found.lines)) < 2 * LINE_BYTES
    assert b"more bytes]" in found.lines[0]
    assert found.received < 20 << 20


async def test_what_is_no_text_is_read_as_it_is(docker: RealDocker, actions: DockerActions) -> None:
    one = await logged(docker, "binary", r"printf '\001\000\377\033[2J\n\200\n'", "-t")
    found = await actions.logs(one, lines=5)
    assert found is not None
    # Docker itself replaces what is no UTF-8.
    assert [line.split(b" ", 1)[1] for line in found.lines] == [
        b"\x01\x00\xef\xbf\xbd\x1b[2J",
        b"\xef\xbf\xbd",
    ]


async def test_a_log_that_its_driver_does_not_give_says_so(
    docker: RealDocker, actions: DockerActions
) -> None:
    one = await docker.run("mute", "--log-driver", "none")
    found = await actions.logs(one, lines=5)
    assert found is not None
    assert "does not support reading" in found.unreadable
    assert found.lines == ()


async def test_commands_that_run_in_a_container_are_seen(docker: RealDocker, actions: DockerActions) -> None:
    one = await docker.run("visited")
    assert await actions.execs(one) == ()
    await docker.docker("exec", "-d", one, "sleep", "500")
    (found,) = await actions.execs(one)
    assert found["ProcessConfig"]["entrypoint"] == "sleep"


async def test_a_container_is_disconnected_and_its_network_image_and_volume_described(
    docker: RealDocker, actions: DockerActions
) -> None:
    name, volume = docker.name("left"), docker.name("described")
    network = await docker.docker("network", "create", name)
    one = await docker.docker(
        "run", "-d", "--init", "--name", docker.name("leaver"), "--network", name, "-v", f"{volume}:/data",
        "--label", "aiidpd.test=a/b", docker.image, "sh", "-c", "touch /written; sleep 600",
    )  # fmt: skip
    try:
        assert (await actions.network(network) or {})["Name"] == name
        assert (await actions.network(name) or {})["Id"] == network
        assert (await actions.volume(volume) or {})["Name"] == volume
        image = await actions.image(docker.image)
        assert image is not None
        assert (await actions.image(image["Id"]) or {})["Id"] == image["Id"]
        assert [each["Id"] for each in await actions.labelled(["aiidpd.test=a/b"])] == [one]
        assert await actions.labelled(["aiidpd.test=a"]) == ()

        async def written() -> list[str]:
            return [change["Path"] for change in await actions.changes(one) or ()]

        await eventually(written, lambda paths: "/written" in paths)
        assert (await actions.describe(one, size=True) or {})["SizeRw"] >= 0
        assert await actions.disconnect(name, one)
        assert (await actions.describe(one) or {})["NetworkSettings"]["Networks"] == {}
        with pytest.raises(Refused, match="not connected"):
            await actions.disconnect(name, one)
    finally:
        await docker.docker("rm", "-f", one)
        await docker.docker("network", "rm", network)
        await docker.docker("volume", "rm", volume)
    assert await actions.network(name) is None
    assert await actions.volume(volume) is None
    assert await actions.image("no/such:image") is None
    assert await actions.image("../../info") is None


async def test_what_the_engine_does_not_do_is_a_refusal(docker: RealDocker, actions: DockerActions) -> None:
    one = await docker.run("refused")
    with pytest.raises(Refused, match="it refuses: You cannot remove a running container"):
        await actions.remove(one)
    with pytest.raises(Refused, match="No such image"):
        await actions.create(docker.name("never"), {"Image": "no-such-image"})
    with pytest.raises(Refused, match="already in use"):
        await actions.create(docker.name("refused"), {"Image": docker.image, "Cmd": ["sleep", "1"]})


async def test_a_container_that_is_gone_is_no_error(actions: DockerActions) -> None:
    assert await actions.describe(NOBODY) is None
    assert await actions.logs(NOBODY, lines=1) is None
    assert not await actions.start(NOBODY)
    assert not await actions.stop(NOBODY, 0)
    assert not await actions.restart(NOBODY, 0)
    assert not await actions.rename(NOBODY, "other")
    assert not await actions.remove(NOBODY)
    assert await actions.execs(NOBODY) == ()
    assert await actions.changes(NOBODY) is None
    assert not await actions.disconnect("bridge", NOBODY)


async def test_a_reading_has_the_ports_that_the_host_reaches(docker: RealDocker) -> None:
    one = await docker.docker(
        "run", "-d", "--name", docker.name("ports"), "-p", "127.0.0.1::8000", "--expose", "9000",
        "-e", "LLAMA_ARG_PORT=8000", "--label", "aiidpd.heal=off", docker.image, "sleep", "600",
    )  # fmt: skip
    runtime = DockerRuntime(docker.socket)
    reading = await runtime.container(one)
    await runtime.aclose()
    assert reading is not None
    assert reading.addresses[8000].startswith("127.0.0.1:")
    assert reading.addresses[9000].endswith(":9000")
    assert reading.arguments == ("sleep", "600")
    assert reading.environment["LLAMA_ARG_PORT"] == "8000"
    assert reading.labels == {"aiidpd.heal": "off"}
    assert reading.pid
