"""Heals of real containers: on a Docker Engine, with health checks, loops, stops and removals."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiidpd.components.containers.heal.protocols import HealSubject
from aiidpd.components.containers.heal.state import Action
from aiidpd.contracts.messages import Cure, HealRequested
from tests.fakes.docker_engine import RealDocker
from tests.fakes.healing import Healing
from tests.forms import short_and_long

pytestmark = [
    pytest.mark.real("docker"),
    pytest.mark.usefixtures("only_healer"),
    pytest.mark.timeout(900),  # others that heal come first
]

CHECK = ("--health-interval", "0.3s", "--health-retries", "2", "--health-timeout", "5s")
SICK = ("--health-cmd", "test ! -e /sick", *CHECK)
FOREVER = ("sh", "-c", "while :; do sleep 0.2; done")


def labelled(**labels: str) -> tuple[str, ...]:
    return tuple(
        part
        for key, value in labels.items()
        for part in ("--label", f"aiidpd.{key.replace('_', '-')}={value}")
    )


async def inspected(docker: RealDocker, name: str, what: str) -> str:
    return await docker.docker("inspect", "-f", f"{{{{{what}}}}}", name)


@pytest.fixture
def healing(docker: RealDocker, tmp_path: Path) -> Healing:
    return Healing(tmp_path, docker.socket, docker.name(""))


async def healthy(healing: Healing, *names: str) -> None:
    def holds() -> bool:
        reading = healing.latest.get()
        if reading is None:
            return False
        found = {each.name: each.health for each in reading.value.containers}
        return all(found.get(name) in ("healthy", None) and name in found for name in names)

    await healing.until(holds)


async def test_an_unhealthy_container_is_restarted_with_evidence_first(
    docker: RealDocker, healing: Healing
) -> None:
    await docker.run("sick", *SICK, command=("sh", "-c", "rm -f /sick; sleep 600"))
    name = docker.name("sick")
    async with healing.running():
        await healthy(healing, name)
        first = await inspected(docker, name, ".State.StartedAt")
        await docker.docker("exec", name, "touch", "/sick")
        ended = await healing.event("heal_ended", name)
        assert ended.evidence["outcome"] == "healed"
        assert ended.evidence["incident"] == "incident-1"
        assert await inspected(docker, name, ".State.StartedAt") > first
    assert [each.container.name for each in healing.collector.subjects] == [name]
    kinds = [each.kind for each in healing.events if each.subject == name and "heal_" in each.kind]
    assert kinds == ["container.heal_began", "container.heal_ended"]
    await docker.docker("rm", "-f", name)


async def test_modes_that_allow_no_act_are_respected(docker: RealDocker, healing: Healing) -> None:
    for text, labels in (
        ("told", {"heal": "notify"}),
        ("off", {"heal": "off"}),
        ("wrong", {"budget": "x"}),
    ):
        await docker.run(text, *SICK, *labelled(**labels))
    names = [docker.name(text) for text in ("told", "off", "wrong")]
    async with healing.running():
        await healthy(healing, *names)
        for name in names:
            await docker.docker("exec", name, "touch", "/sick")
        told = await healing.event("heal_advised", names[0])
        assert "aiidpd.heal=restart" in told.reason
        assert "aiidpd.budget" in (await healing.event("heal_advised", names[2])).reason
        (condition,) = [
            each for each in healing.conditions.active() if each.type == "container_heal_label_invalid"
        ]
        assert condition.subject == names[2]
        assert "'x' is not a budget" in condition.reason
        await anyio.sleep(1)
        assert healing.said("heal_advised", names[1]) == []
        assert healing.said("heal_began") == []
    await docker.docker("rm", "-f", *names)


async def test_a_heal_that_fails_backs_off_and_is_parked_over_restarts_of_the_daemon(
    docker: RealDocker, tmp_path: Path
) -> None:
    healing = Healing(tmp_path, docker.socket, docker.name(""), backoff_initial=0.5)
    name = docker.name("hopeless")
    never = ("--health-cmd", "test -e /never", *CHECK)
    labels = labelled(budget="2/1h", grace="1s")
    await docker.run("hopeless", *never, *labels)
    async with healing.running():
        ended = await healing.event("heal_ended", name)
        assert ended.evidence["outcome"] == "failed"
    healing.anew()
    async with healing.running():
        await healing.event("heal_parked", name)
        assert len(healing.said("heal_began", name)) == 2
    healing.anew()
    healing.events.clear()
    async with healing.running():
        await healing.until(lambda: (found := healing.track(name)) and found.parked)
        await anyio.sleep(1)
        assert healing.said("heal_began", name) == []
        (condition,) = [each for each in healing.conditions.active() if each.type == "container_heal_parked"]
        assert f"unpark {name}" in condition.remedy
        await docker.docker("restart", "-t", "0", name)
        await healing.event("heal_unparked", name)
    await docker.docker("rm", "-f", name)


@pytest.mark.parametrize("uptime", ["0", "0.6"])
async def test_a_crash_loop_is_stopped_and_parked_within_its_budget(
    docker: RealDocker, healing: Healing, uptime: str
) -> None:
    """Docker itself forgets its backoff after 10 s of running; scaled here, by counts the same."""
    name = docker.name("loops")
    labels = labelled(budget="4/1h")
    await docker.run("ok")
    async with healing.running():
        await healthy(healing, docker.name("ok"))
        script = ("sh", "-c", f"sleep {uptime}; exit 3")
        await docker.run("loops", "--restart", "always", *labels, command=script)
        parked = await healing.event("heal_parked", name)
        assert "restart loop stopped" in parked.reason

        async def state() -> str:
            return await inspected(docker, name, ".State.Status")

        with anyio.fail_after(20):
            while await state() != "exited":  # noqa: ASYNC110 -- another process brings it about
                await anyio.sleep(0.05)
        count = int(await inspected(docker, name, ".RestartCount"))
        assert count <= 6, "the fourth end counts, and one may have begun meanwhile"
        await anyio.sleep(2)
        assert await state() == "exited"
        assert [
            each.subject for each in healing.conditions.active() if each.type == "container_heal_parked"
        ] == [name]
        await docker.docker("start", name)
        await healing.event("heal_unparked", name)
    await docker.docker("rm", "-f", name, docker.name("ok"))


async def test_one_that_ignores_sigterm_is_killed(docker: RealDocker, healing: Healing) -> None:
    name = docker.name("stubborn")
    script = ("sh", "-c", "rm -f /sick; trap '' TERM; while :; do sleep 0.2; done")
    await docker.run("stubborn", *SICK, command=script)
    async with healing.running():
        await healthy(healing, name)
        await docker.docker("exec", name, "touch", "/sick")
        ended = await healing.event("heal_ended", name)
        assert ended.evidence["outcome"] == "healed"
        assert float(str(ended.evidence["seconds"])) >= 1.0, "it had its second of grace"
    await docker.docker("rm", "-f", name)


async def test_what_a_person_stops_stays_down(docker: RealDocker, healing: Healing) -> None:
    name = docker.name("stopped")
    await docker.run("stopped", *SICK, "--restart", "unless-stopped")
    async with healing.running():
        await healthy(healing, name)
        await docker.docker("stop", "-t", "0", name)
        await healing.event("died", name)
        await anyio.sleep(2)
        assert healing.said("heal_began") == []
        assert await inspected(docker, name, ".State.Status") == "exited"
    await docker.docker("rm", "-f", name)


async def test_one_that_a_person_is_in_is_left_alone(docker: RealDocker, healing: Healing) -> None:
    name = docker.name("visited")
    script = ("sh", "-c", "rm -f /sick; sleep 600")
    await docker.run("visited", *SICK, command=script)
    async with healing.running():
        await healthy(healing, name)
        await docker.docker("exec", "-d", name, "sh", "-c", "touch /sick; sleep 4")
        left = await healing.event("heal_ended", name)
        assert left.evidence["outcome"] == "deferred"
        assert "somebody runs a command in it" in left.reason
        assert healing.said("heal_began") == []
        await healing.event("heal_began", name)
    await docker.docker("rm", "-f", name)


async def test_whoever_shares_the_network_of_a_healed_container_is_restarted_too(
    docker: RealDocker, healing: Healing
) -> None:
    script = ("sh", "-c", "rm -f /sick; sleep 600")
    await docker.run("vpn", *SICK, command=script)
    app = docker.name("app")
    await docker.docker(
        "run", "-d", "--init", "--name", app, "--network", f"container:{docker.name('vpn')}",
        docker.image, "sleep", "600",
    )  # fmt: skip
    async with healing.running():
        await healthy(healing, docker.name("vpn"), app)
        await docker.docker("exec", docker.name("vpn"), "touch", "/sick")
        began = await healing.event("heal_began", app)
        assert began.evidence["fault"] == "container_network_lost"
        ended = await healing.event("heal_ended", app)
        assert ended.evidence["outcome"] == "healed"
        assert await inspected(docker, app, ".State.StartedAt") > await inspected(
            docker, docker.name("vpn"), ".State.StartedAt"
        )
    await docker.docker("rm", "-f", app, docker.name("vpn"))


@pytest.mark.parametrize("when", ["evidence", "verify"])
async def test_a_container_that_is_removed_while_it_is_healed_harms_nothing(
    docker: RealDocker, healing: Healing, when: str
) -> None:
    name, other = docker.name("removed"), docker.name("other")
    script = ("sh", "-c", "rm -f /sick; sleep 600")
    labels = labelled(grace="60s")
    never = ("--health-cmd", "test -e /never", *CHECK)
    await docker.run("removed", *never, *labels, command=script)
    await docker.run("other", *SICK, command=script)

    async def remove(subject: HealSubject) -> None:
        if subject.container.name == name and when == "evidence":
            await docker.docker("rm", "-f", name)

    healing.collector.before = remove
    async with healing.running():
        await healthy(healing, other)
        identity = await inspected(docker, name, ".Id")
        healing.messages.send(request(identity, name))
        if when == "verify":
            await healing.event("heal_began", name)
            await docker.docker("rm", "-f", name)
        ended = await healing.event("heal_ended", name)
        # Before it is gone it is killed, on a person's request: that may be seen first.
        assert ended.evidence["outcome"] in ("gone", "healed", "interrupted")
        await healing.until(lambda: healing.track(name) is None)
        await docker.docker("exec", other, "touch", "/sick")
        await healing.event("heal_began", other)
    await docker.docker("rm", "-f", other)


def request(identity: str, name: str, **more: Any) -> HealRequested:
    given = {"fault": "engine_hung", "cure": Cure.RESTART, "hold_seconds": 30.0} | more
    return HealRequested(reason="no token for 10 minutes", container=identity, name=name, **given)


async def test_a_request_of_an_engine_is_obeyed_and_forgotten_after_the_heal(
    docker: RealDocker, healing: Healing
) -> None:
    identity = await docker.run("engine", *labelled(grace="5m"))
    name = docker.name("engine")
    async with healing.running():
        await healthy(healing, name)
        healing.messages.send(request(identity, name, hold_seconds=600.0))
        began = await healing.event("heal_began", name)
        assert "no token for 10 minutes" in began.reason
        ended = await healing.event("heal_ended", name)
        assert ended.evidence["outcome"] == "healed"
        await healing.until(lambda: healing.book.decisions[0].action is not Action.HEALING)
        assert len(healing.said("heal_began", name)) == 1
    await docker.docker("rm", "-f", name)


class Process:
    """A daemon that heals in a process of its own."""

    def __init__(self, folder: Path, docker: RealDocker) -> None:
        command = [sys.executable, "-m", "tests.integration.heal_scenario", str(folder)]
        self._process = subprocess.Popen(
            [*command, str(docker.socket), docker.name("")], stdout=subprocess.PIPE, text=True
        )

    def until(self, begin: str) -> str:
        """Return the next line that begins so."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(begin):
                return line.strip()
        raise AssertionError(f"the daemon ended before it said {begin}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@short_and_long("rounds", 4, 20)
async def test_whatever_kills_a_daemon_in_a_heal_it_is_finished_once(
    docker: RealDocker, tmp_path: Path, rounds: int
) -> None:
    chance = random.Random(rounds)
    text = f"killed{rounds}"
    name = docker.name(text)
    script = ("sh", "-c", "rm -f /sick; trap '' TERM; while :; do sleep 0.1; done")
    await docker.run(text, *SICK, *labelled(grace="0s"), command=script)
    restarts = 0
    for number in range(rounds):
        before = await inspected(docker, name, ".State.StartedAt")
        daemon = await anyio.to_thread.run_sync(Process, tmp_path, docker)
        try:
            await anyio.to_thread.run_sync(daemon.until, "runs")
            touched = time.time()
            await docker.docker("exec", name, "touch", "/sick")
            await anyio.to_thread.run_sync(daemon.until, "evidence" if number % 3 == 0 else "heal_began")
            await anyio.sleep(chance.uniform(0.0, 0.9))
        finally:
            daemon.kill()
        await anyio.sleep(chance.uniform(0.0, 0.5))
        daemon = await anyio.to_thread.run_sync(Process, tmp_path, docker)
        try:
            line = await anyio.to_thread.run_sync(daemon.until, "heal_ended")
            assert line == "heal_ended healed", f"round {number}"
        finally:
            daemon.kill()
        assert await inspected(docker, name, ".State.Status") == "running"
        assert await inspected(docker, name, ".State.Health.Status") == "healthy"
        assert await inspected(docker, name, ".State.StartedAt") > before
        events = await docker.docker(
            "events", "--since", f"{touched:.9f}", "--until", str(int(time.time())),
            "--filter", f"container={name}", "--format", "{{.TimeNano}} {{.Action}}",
        )  # fmt: skip
        starts = [line for line in events.splitlines() if line.endswith(" start")]
        assert len(starts) <= 1, f"round {number}: started twice\n{events}"
        restarts += 1
    (record,) = json.loads((tmp_path / "heals.json").read_text())["containers"]
    assert len(record["heals"]) == restarts, record
    await docker.docker("rm", "-f", name)
