"""Copies of real containers of every option that `docker run` takes: none differs from its original."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.recreate.compare import differences
from aiidpd.components.containers.recreate.described import volume_sources
from aiidpd.components.containers.recreate.faithful import refusal, refusal_of_copy
from aiidpd.components.containers.recreate.gather import gather
from aiidpd.components.containers.recreate.plan import make_plan
from aiidpd.kernel.errors import Unavailable
from tests.fakes.docker_engine import RealDocker
from tests.forms import examples

pytestmark = pytest.mark.real("docker")

PLAIN = ("sleep", "600")
PLAIN_OPTIONS = [
    "",
    "--add-host a.example:10.0.0.1 --add-host b.example:host-gateway",
    "-a stdout",
    "--blkio-weight 300",
    "--cap-add NET_ADMIN --cap-add SYS_PTRACE --cap-drop MKNOD",
    "--cap-drop ALL",
    "--cgroup-parent /aiidpd-test",
    "--cgroupns private",
    "--cgroupns host",
    "--cpu-period 50000 --cpu-quota 25000",
    "--cpu-shares 512",
    "--cpus 0.5",
    "--cpuset-cpus 0-1 --cpuset-mems 0",
    "--device /dev/null:/dev/other:rw --device /dev/zero",
    "--device-cgroup-rule c_1:3_rwm",
    "--device-read-bps /dev/vda:1mb --device-write-iops /dev/vda:100",
    "--dns 10.0.0.1 --dns-search example.com --dns-option ndots:2",
    "--domainname example.com --hostname model",
    "--hostname model",
    "-e A=1 -e EMPTY= -e WITH=a=b=c",
    "-e LINES=one\ntwo",
    "--expose 8000 --expose 9000-9002/udp",
    "--gpus all",
    "--gpus device=0,1",
    '--gpus "device=0","capabilities=compute,utility"',
    "--group-add 44 --group-add audio",
    "--health-cmd true --health-interval 3s --health-timeout 2s --health-retries 4 --health-start-period 1m",
    "--no-healthcheck",
    "--init",
    "--init=false",
    "-i",
    "-i -t",
    "--ipc host",
    "--ipc none",
    "--ipc private",
    "--ipc shareable",
    "--isolation default",
    "--label a=1 --label empty= --label aiidpd.heal=recreate --label tr=ü",
    "--log-driver json-file --log-opt max-size=10m --log-opt max-file=3",
    "--log-driver none",
    "--log-driver local --log-opt max-size=5m",
    "-m 256m",
    "-m 256m --memory-swap 512m --memory-reservation 128m",
    "-m 256m --memory-swap -1",
    "--memory-swappiness 10",
    "--kernel-memory 128m",
    "--mount type=bind,source=/tmp,target=/host,readonly",
    "--mount type=bind,source=/tmp,target=/host,bind-propagation=rslave",
    "--mount type=volume,target=/anonymous",
    "--mount type=volume,source={volume},target=/data,volume-nocopy,readonly",
    "--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770",
    "--network none",
    "--network host",
    "--network host --uts host",
    "--network host --hostname other",
    "--network container:{other}",
    "--network container:{other_id} --ipc container:{shared} --pid container:{other}",
    "--network {network}",
    "--network {network} --network-alias engine --network-alias llm",
    "--network {network} --ip {subnet}.77 --ip6 {subnet6}::77",
    "--network {network} --link {other}:db",
    "--network {network_id}",
    "--network name={network},driver-opt=com.example.x=1",
    "--oom-kill-disable -m 64m",
    "--oom-score-adj 500",
    "--pid host",
    "--pids-limit 100",
    "--pids-limit -1",
    "--privileged",
    "-p 8000",
    "-p 127.0.0.1::8001 -p 8002/udp",
    "-p 127.0.0.1:48123-48125:8000-8002",
    "-p 48126:80 -p 48127:80",
    "-P --expose 7000",
    "--read-only --tmpfs /run --tmpfs /tmp:rw,noexec,size=1m",
    "--restart always",
    "--restart unless-stopped",
    "--restart on-failure:5",
    "--runtime runc",
    "--security-opt no-new-privileges",
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined",
    "--security-opt systempaths=unconfined",
    "--security-opt label=disable",
    "--security-opt label=level:s0:c100,c200",
    "--shm-size 8g",
    "--stop-signal SIGINT --stop-timeout 77",
    "--stop-timeout 0",
    "--sysctl net.core.somaxconn=1024",
    "--ulimit memlock=-1 --ulimit nofile=1024:2048",
    "-u 1000:1000",
    "-u nobody",
    "--userns host",
    "--uts host",
    "-v /anonymous",
    "-v /anonymous -v /other",
    "-v {volume}:/data",
    "-v {volume}:/data:ro",
    "-v /tmp:/host:ro,rslave -v /etc/hostname:/x",
    "-v {volume}:/anonymous -v /anonymous",
    "--mount type=tmpfs,target=/anonymous -v /anonymous",
    "--volumes-from {other}",
    "--volumes-from {other}:ro -v /anonymous",
    "--volume-driver local -v /anonymous",
    "-w /srv/here",
]
IMAGE_OPTIONS = [
    ("", ()),
    ("", ("sleep", "500")),
    ("--entrypoint sleep", ("600",)),
    ("--entrypoint=", ("sleep", "600")),
    ("-e PATH -e FROM_IMAGE=other", ()),
    ("--label from.image=other", ()),
    ("--no-healthcheck", ()),
    ("--health-interval 9s", ()),
    ("--health-cmd false", ()),
    ("-v {volume}:/from/image", ()),
    ("--mount type=volume,target=/from/image", ()),
    ("-u root -w /", ()),
    ("--stop-signal SIGTERM", ()),
    ("-P", ()),
    ("--network container:{other}", ()),
    ("--network container:{other} -v /anonymous", ()),
    ("--read-only --tmpfs /from/image", ()),
]
DOCKERFILE = """\
FROM {base}
ENV FROM_IMAGE=1 PATH=/bin
LABEL from.image=1 other=2
VOLUME /from/image
EXPOSE 8000 9000/udp
USER 1000
WORKDIR /from
HEALTHCHECK --interval=7s CMD true
STOPSIGNAL SIGINT
ENTRYPOINT ["sleep"]
CMD ["600"]
"""


class Bench:
    """Things that the options refer to, and a way to make a container of options and to copy it."""

    def __init__(self, docker: RealDocker, actions: DockerActions, names: dict[str, str], image: str) -> None:
        self.docker, self.actions, self.names, self.image = docker, actions, names, image

    async def original(self, options: str, command: tuple[str, ...] = PLAIN, image: str = "") -> str:
        """Return the id of a container of ``options``, which runs where this machine can run it."""
        words = [word.format(**self.names).replace("_", " ") if "cgroup-rule" in options else
                 word.format(**self.names) for word in options.split(" ") if word]  # fmt: skip
        name = self.docker.name(f"original-{uuid.uuid4().hex[:8]}")
        said = await self.docker.docker(
            "create", "--name", name, *words, image or self.docker.image, *command
        )
        identity = said.splitlines()[-1]
        with suppress(Unavailable):  # no GPU here, and no swap
            await self.actions.start(identity)
        return identity

    async def copy(self, identity: str) -> tuple[str, ...]:
        """Return in what a copy differs from its original; both are removed."""
        facts = await gather(self.actions, identity)
        assert facts is not None
        assert (refusal(facts), refusal_of_copy(facts)) == (None, None)
        entrypoint = ((facts.image or {}).get("Config") or {}).get("Entrypoint")
        plan = make_plan(facts.container, image=facts.image_text, entrypoint=entrypoint)
        new = await self.actions.create(f"{facts.name}-copy", json.loads(json.dumps(plan.body)))
        if plan.disconnect:
            await self.actions.disconnect(plan.disconnect, new)
        for connection in plan.connections:
            await self.actions.connect(connection.network, new, connection.endpoint)
        copied = await self.actions.describe(new)
        assert copied is not None
        assert volume_sources(copied) == volume_sources(facts.container)
        found = differences(facts.container, copied, plan)
        await self.actions.remove(new)
        await self.docker.docker("rm", "-f", "-v", identity)
        return found


class Surroundings(NamedTuple):
    """Names of what options refer to, and an image whose configuration says much."""

    names: dict[str, str]
    image: str


@pytest.fixture(scope="module")
def surroundings(docker: RealDocker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    def call(*arguments: str) -> str:
        command = ["docker", *arguments]
        environment = os.environ | {"DOCKER_BUILDKIT": "0"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert not done.returncode, f"{' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def run(text: str, *options: str) -> str:
        return call("run", "-d", "--init", "--name", docker.name(text), *options, docker.image, *PLAIN)

    network, second, volume = docker.name("network"), docker.name("second"), docker.name("volume")
    image = f"{docker.image}-options"
    # By chance: the network of a run that was killed is still there, and two may not overlap.
    third = [f"{secrets.randbelow(256)}" for _ in range(2)]
    subnet, subnet6 = f"10.{'.'.join(third)}", f"fd00:{':'.join(third)}"
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=docker.image))
    call("build", "-q", "-t", image, str(folder))
    call("network", "create", second)
    call("volume", "create", volume)
    names = {
        "network": network,
        "network_id": call(
            *("network", "create", "--ipv6"),
            *("--subnet", f"{subnet}.0/24", "--subnet", f"{subnet6}::/64", network),
        ),
        "subnet": subnet,
        "subnet6": subnet6,
        "second": second,
        "volume": volume,
        "other": docker.name("other"),
        "other_id": run("other", "-v", "/of/other"),
        "shared": run("shared", "--ipc", "shareable"),
    }  # fmt: skip
    try:
        yield Surroundings(names, image)
    finally:
        left = call("ps", "-aq", "--filter", f"name={docker.name('')}").split()
        call("rm", "-f", "-v", *left)
        call("network", "rm", network, second)
        call("volume", "rm", "-f", volume)
        call("rmi", "-f", image)


@pytest.fixture
async def bench(docker: RealDocker, surroundings: Surroundings) -> AsyncIterator[Bench]:
    actions = DockerActions(docker.socket)
    yield Bench(docker, actions, surroundings.names, surroundings.image)
    await actions.aclose()


@pytest.mark.parametrize("options", PLAIN_OPTIONS)
async def test_a_copy_is_as_its_original(bench: Bench, options: str) -> None:
    assert await bench.copy(await bench.original(options)) == ()


@pytest.mark.parametrize(("options", "command"), IMAGE_OPTIONS)
async def test_what_comes_from_the_image_comes_out_the_same(
    bench: Bench, options: str, command: tuple[str, ...]
) -> None:
    assert await bench.copy(await bench.original(options, command, bench.image)) == ()


async def test_networks_that_it_was_connected_to_later_come_with_it(bench: Bench) -> None:
    one = await bench.original("--network {network} --network-alias first")
    second = bench.names["second"]
    await bench.docker.docker("network", "connect", "--alias", "a", "--alias", "b", second, one)
    assert await bench.copy(one) == ()


async def test_a_network_that_it_has_left_is_left_by_its_copy(bench: Bench) -> None:
    one = await bench.original("--network {network}")
    await bench.docker.docker(
        "network", "connect", "--link", f"{bench.names['other']}:db", bench.names["second"], one
    )
    await bench.docker.docker("network", "disconnect", bench.names["network"], one)
    assert await bench.copy(one) == ()


@pytest.mark.parametrize("network", ["network", "bridge"])
async def test_an_address_of_the_hardware_that_was_asked_for_comes_with_it(
    bench: Bench, network: str
) -> None:
    mode = bench.names.get(network, network)
    endpoint = {"IPAMConfig": {"IPv4Address": f"{bench.names['subnet']}.88"}} if network == "network" else {}
    body = {
        "Image": bench.docker.image,
        "Cmd": list(PLAIN),
        "MacAddress": "02:42:ac:11:00:99",
        "HostConfig": {"NetworkMode": mode},
        "NetworkingConfig": {"EndpointsConfig": {mode: endpoint}},
    }
    one = await bench.actions.create(bench.docker.name(f"hardware-{network}"), body)
    await bench.actions.start(one)
    assert await bench.copy(one) == ()


async def test_limits_that_were_changed_later_come_with_it(bench: Bench) -> None:
    one = await bench.original("-m 64m --cpus 1")
    await bench.docker.docker(
        "update", "--memory", "96m", "--memory-swap", "200m", "--restart", "always", one
    )
    assert await bench.copy(one) == ()


async def test_one_that_was_renamed_and_a_copy_of_a_copy_are_the_same(bench: Bench) -> None:
    one = await bench.original("-v /anonymous --hostname a.b", image=bench.image)
    assert await bench.copy(one) == ()


GROUPS = {
    "network": [
        "",
        "--network {network} --network-alias x",
        "--network host",
        "--network none",
        "-p 8000 -P",
    ],
    "volumes": ["", "-v /anonymous", "-v {volume}:/data:ro -v /other", "--mount type=volume,target=/m"],
    "others": ["", "--volumes-from {other}", "--expose 9"],
    "limits": ["", "-m 64m", "--cpus 0.5 --pids-limit 50", "--cpu-shares 100 --oom-score-adj 3"],
    "rights": ["", "--privileged", "--cap-drop ALL --cap-add CHOWN", "--security-opt no-new-privileges"],
    "names": ["", "--hostname h", "--label a=b -e C=d", "-w /w --stop-timeout 3", "-u 5:6"],
    "files": ["", "--read-only --tmpfs /tmp", "--shm-size 128m --ulimit nofile=99", "--tmpfs /from/image"],
    "spaces": ["", "--pid host", "--ipc shareable", "--uts host", "--pid container:{other}"],
    "health": ["", "--no-healthcheck", "--health-cmd true --health-retries 2", "--restart on-failure:2"],
}


@settings(examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    picks=st.fixed_dictionaries({key: st.sampled_from(values) for key, values in GROUPS.items()}),
    plain=st.booleans(),
)
async def test_whatever_options_come_together_a_copy_is_as_its_original(
    bench: Bench, picks: dict[str, str], plain: bool
) -> None:
    if "host" in picks["spaces"] and "--hostname" in picks["names"] and "uts" in picks["spaces"]:
        picks = picks | {"names": ""}  # the runtime refuses both
    one = await bench.original(" ".join(picks.values()), PLAIN if plain else (), "" if plain else bench.image)
    assert await bench.copy(one) == ()
