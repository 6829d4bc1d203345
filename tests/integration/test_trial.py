"""Another image is tried in the place of a real container: it is kept on purpose, or the old one is back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.contracts.trials import Wish
from tests.fakes.docker_engine import RealDocker
from tests.fakes.docker_proxy import docker_proxy
from tests.fakes.tried_images import EngineImages
from tests.forms import short_and_long
from tests.integration.recreate_site import Faulty
from tests.integration.trial_site import ACTS, TrialSite, inspected, names, wrong
from tests.waiting import eventually, until

pytestmark = pytest.mark.real("docker")


@pytest.fixture(scope="module")
def images(docker: RealDocker) -> Iterator[EngineImages]:
    made = EngineImages(docker)
    yield made
    made.clean()


@pytest.fixture
def name(docker: RealDocker, request: pytest.FixtureRequest) -> Iterator[str]:
    text = f"t{abs(hash(request.node.name)) % 10**8}"
    yield text
    left = names(docker.name(text))
    if left:
        subprocess.run(["docker", "rm", "-f", "-v", *left], check=True, capture_output=True)


class Case(NamedTuple):
    """Engine, images, two of them, and a name and a folder that no other test uses."""

    docker: RealDocker
    images: EngineImages
    one: str
    two: str
    name: str
    folder: Path


@pytest.fixture
def case(docker: RealDocker, images: EngineImages, name: str, tmp_path: Path) -> Case:
    return Case(docker, images, images.image("one"), images.image("two"), name, tmp_path)


def site_of(docker: RealDocker, folder: Path, text: str, **options: object) -> TrialSite:
    return TrialSite(folder, docker.socket, docker.name(text), **options)  # type: ignore[arg-type]


async def test_it_is_tried_and_kept(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one, "-e", "MODE=fast", "-v", "/cache", "--memory", "256m")
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)

    async def log() -> str:
        done = await anyio.run_process(["docker", "logs", site.name], stderr=subprocess.STDOUT)
        return done.stdout.decode()

    await eventually(log, lambda text: "engine one starts" in text)
    async with site.running():
        state = await site.tried(two)
        assert (state.serving, state.disturbed, state.ended) == ("new", "", "")
        assert site.book.names == {site.name}
        assert any(each.startswith("Env: - -> ENGINE_VERSION=two") for each in state.differences)
        assert 0 < state.stopped_seconds < 30
        assert state.old_log[-1].endswith("engine one starts")
        assert len(names(site.name)) == 2
        site.wish(Wish.KEEP, two)
        state = await site.until(lambda each: each.ended)
    new = inspected(site.name)
    assert (state.ended, names(site.name)) == ("kept", [site.name])
    assert new["Id"] != old["Id"]
    assert new["State"]["Running"]
    assert "ENGINE_VERSION=two" in new["Config"]["Env"]
    assert "ENGINE_VERSION=one" not in new["Config"]["Env"]
    assert "MODE=fast" in new["Config"]["Env"]
    assert new["HostConfig"] == old["HostConfig"] | {"Binds": new["HostConfig"]["Binds"]}
    assert {m["Name"] for m in old["Mounts"] if m["Type"] == "volume"} == {
        m["Name"] for m in new["Mounts"] if m["Type"] == "volume"
    }
    assert inspected(one)["Id"] == old["Image"], "the old image stays"
    assert site.kinds() == ["container.upgrade_began", "container.upgrade_kept"]
    assert not (tmp_path / "image-trials.json").exists()


@pytest.mark.parametrize("how", ["wished", "not repeated"])
async def test_it_goes_back(case: Case, how: str) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)
    async with site.running():
        await site.tried(two)
        site.wish(Wish.BACK if how == "wished" else Wish.NEW, two, hold=0.3)
        state = await site.until(lambda each: each.ended)
        assert (state.ended, state.serving) == ("returned", "old")
    assert wrong(site.name, old["Id"]) == []
    assert inspected(site.name)["Config"] == old["Config"]
    assert site.conditions.active() == ()


async def test_both_take_turns(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one, "--restart", "always")
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)["Id"]
    async with site.running():
        for wish, serving in ((Wish.NEW, "new"), (Wish.OLD, "old"), (Wish.NEW, "new"), (Wish.OLD, "old")):
            assert (await site.tried(two, wish)).serving == serving
        site.wish(Wish.BACK, two)
        assert (await site.until(lambda each: each.ended)).ended == "returned"
    assert wrong(site.name, old) == []


async def test_one_runs_beside_the_other(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    _, port = images.run(name, one, "--label", "traefik.enable=true")
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)["Id"]
    async with site.running():
        state = await site.tried(two, Wish.BESIDE)
        assert (state.serving, state.new.running) == ("old", True), state
        assert not state.new.addresses[8000].endswith(f":{port}")
        beside = inspected(state.new.id)
        assert beside["Config"]["Labels"] == {}
        assert beside["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostIp"] == "127.0.0.1"
        assert inspected(site.name)["Id"] == old
        state = await site.tried(two, Wish.NEW)
        assert (state.serving, state.new.addresses[8000]) == ("new", f"127.0.0.1:{port}")
        assert len(names(site.name)) == 2
        site.wish(Wish.KEEP, two)
        assert (await site.until(lambda each: each.ended)).ended == "kept"


@pytest.mark.parametrize(
    ("how", "words"),
    [({"dies_after": 0.3}, "the new one ended"), ({"dies_after": 0.1, "eats": True}, "the new one ended")],
)
async def test_one_that_ends_is_undone_with_its_log(case: Case, how: dict[str, object], words: str) -> None:
    docker, images, one, _, name, tmp_path = case
    bad = images.image(f"bad{len(how)}", **how)
    images.run(name, one, "--memory", "64m", "--memory-swap", "64m")
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)["Id"]
    async with site.running():
        site.wish(Wish.NEW, bad)
        state = await site.until(lambda each: each.ended)
    assert (state.ended, state.disturbed) == ("returned", words)
    if "eats" in how:
        assert state.new.out_of_memory
    else:
        assert state.new.exit_code == 3
        assert "api_key=[redacted] no kernel image is available" in state.new.log[-1]
    assert wrong(site.name, old) == []


async def test_what_is_not_allowed_is_refused_with_what_to_do(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one, label="team=llm")
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)
    async with site.running():
        state = await site.tried(two)
        assert state.plan is not None
        assert state.plan.refusal == "nobody has allowed it"
        assert "aiidpd.upgrade=allow" in state.plan.remedy
    assert inspected(site.name) == old


async def test_a_name_of_the_same_image_is_nothing_to_try(case: Case) -> None:
    docker, images, one, _, name, tmp_path = case
    images.run(name, one)
    await docker.docker("tag", one, f"{one}-again")
    site = site_of(docker, tmp_path, name)
    try:
        async with site.running():
            state = await site.tried(f"{one}-again", Wish.PLAN)
            assert state.plan is not None
            assert (state.plan.same, state.plan.refusal) == (True, "")
            site.wish(Wish.NEW, f"{one}-again", "t2")
            state = await site.until(lambda each: each.plan and each.plan.refusal, "t2")
            assert "nothing to try" in str(state.plan and state.plan.refusal)
    finally:
        await docker.docker("rmi", f"{one}-again")


async def test_a_second_trial_is_refused_meanwhile(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    site = site_of(docker, tmp_path, name)
    async with site.running():
        await site.tried(two, Wish.OLD)
        site.wish(Wish.NEW, two, "t2")
        state = await site.until(lambda each: each.plan and each.plan.refusal, "t2")
        assert "is tried in the place of" in str(state.plan and state.plan.refusal)
        site.wish(Wish.BACK, two)
        await site.until(lambda each: each.ended)


@pytest.mark.parametrize("which", ["old", "new"])
async def test_one_that_somebody_removes_meanwhile(case: Case, which: str) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)["Id"]
    async with site.running():
        state = await site.tried(two)
        new = state.new.id
        await docker.docker("rm", "-f", old if which == "old" else new)
        state = await site.until(lambda each: each.ended)
    found = inspected(site.name)
    assert found["State"]["Running"]
    assert (state.ended, found["Id"]) == (("gone", new) if which == "old" else ("returned", old))
    assert names(site.name) == [site.name]


async def test_an_emergency_keeps_it_down(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)["Id"]
    async with site.running():
        await site.tried(two)
        site.messages.send(EmergencyStop(reason="GPU 0 is at 110 °C", gpu="GPU-1", containers=(site.name,)))
        await docker.docker("stop", "-t", "0", site.name)
        state = await site.until(lambda each: each.ended)
        assert state.ended == "returned"
        assert [each.old for each in site.barred] == [old]
    assert (inspected(site.name)["Id"], inspected(site.name)["State"]["Running"]) == (old, False)
    assert names(site.name) == [site.name]


@pytest.mark.parametrize("how", ["before", "after", "refused"])
async def test_a_call_that_fails_at_any_step_loses_nothing(case: Case, how: str) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    plain = site_of(docker, tmp_path, name)
    old = inspected(plain.name)["Id"]
    ends = set()
    for at in range(10):
        faulty = Faulty(DockerActions(docker.socket), at=at, how=how, kinds=ACTS)
        folder = tmp_path / str(at)
        folder.mkdir()
        site = site_of(docker, folder, name, actions=faulty)
        async with site.running():
            site.wish(Wish.NEW, two)
            state = await site.until(lambda each: each.wish is Wish.NEW or each.ended)
            if not state.ended:
                site.wish(Wish.BACK, two)
            state = await site.until(lambda each: each.ended)
            assert state.ended == "returned", f"call {at}, {faulty.calls}, {how}"
        ends.add(faulty.calls[min(at, len(faulty.calls) - 1)])
        assert wrong(site.name, old) == [], f"call {at}, {faulty.calls}, {how}"
        assert site.conditions.active() == ()
    assert ends == set(ACTS)


async def test_while_an_old_one_does_not_start_there_is_a_condition(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    site = site_of(docker, tmp_path, name)
    old = inspected(site.name)["Id"]
    async with site.running():
        await site.tried(two)
        blocked = Blocked(site)
        site.tools.actions.start = blocked.start  # type: ignore[method-assign]
        site.wish(Wish.BACK, two)
        with anyio.fail_after(30):
            while not site.conditions.active():  # noqa: ASYNC110
                await anyio.sleep(0.05)
        (condition,) = site.conditions.active()
        assert (condition.type, condition.subject) == ("container_upgrade_not_returned", site.name)
        assert "port is taken" in condition.reason
        blocked.open = True
        state = await site.until(lambda each: each.ended)
        assert (state.ended, site.conditions.active()) == ("returned", ())
    assert wrong(site.name, old) == []


class Blocked:
    """A start that is refused until it is ``open``."""

    def __init__(self, site: TrialSite) -> None:
        self.open = False
        self._start: Callable[[str], object] = site.tools.actions.start

    async def start(self, identity: str) -> bool:
        if not self.open:
            raise Refused("start", identity, reason="the port is taken")
        return bool(await self._start(identity))  # type: ignore[misc]


async def test_an_engine_that_is_away_for_a_while_is_waited_for(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    old = inspected(docker.name(name))["Id"]
    async with docker_proxy(docker.socket, tmp_path / "d.sock") as proxy:
        site = site_of(docker, tmp_path, name, actions=DockerActions(proxy.socket, call_timeout=1.0))
        async with site.running():
            await site.tried(two)
            await proxy.close()
            site.wish(Wish.BACK, two)
            await site.until(lambda each: "nothing listens" in each.problem)
            await proxy.open()
            state = await site.until(lambda each: each.ended)
            assert state.ended == "returned"
            assert site.conditions.active() == ()
    assert wrong(docker.name(name), old) == []


async def test_a_journal_that_cannot_be_read_or_written_leaves_all_alone(case: Case) -> None:
    docker, images, one, two, name, tmp_path = case
    images.run(name, one)
    old = inspected(docker.name(name))
    journal = tmp_path / "image-trials.json"
    journal.write_text('{"version": 9}')
    site = site_of(docker, tmp_path, name)
    async with site.running():
        state = await site.tried(two)
        assert str(journal) in str(state.plan and state.plan.refusal)
        assert [each.type for each in site.conditions.active()] == ["container_upgrade_state"]
    journal.unlink()
    site = site_of(docker, tmp_path, name)
    async with site.running():
        await anyio.sleep(0.1)
        journal.mkdir()
        state = await site.tried(two)
        assert "can't be written" in str(state.plan and state.plan.refusal)
    assert inspected(docker.name(name)) == old
    until(lambda: names(docker.name(name)) == [docker.name(name)])


LANES = 2


def lane(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@short_and_long("rounds", 6, 60)
async def test_whatever_kills_a_daemon_the_old_one_serves_again(case: Case, rounds: int) -> None:
    docker, images, one, two, _, tmp_path = case
    lanes = []
    for seed in range(LANES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        name, _ = images.run(f"lane{seed}of{rounds}", one, "--restart", "always", "-v", "/anonymous")
        arguments = [str(folder), str(docker.socket), name, f"{one},{two}", str(seed), str(rounds // LANES)]
        command = [sys.executable, "-m", "tests.integration.trial_scenario", *arguments]
        lanes.append(lane(command))
    seen: Counter[str] = Counter()
    for each in lanes:
        out, err = await anyio.to_thread.run_sync(each.communicate)
        assert each.returncode == 0, err
        told = json.loads(out.splitlines()[-1])
        assert told["wrong"] == []
        seen += Counter(told["seen"])
    for seed in range(LANES):
        await docker.docker("rm", "-f", "-v", docker.name(f"lane{seed}of{rounds}"))
    assert seen["kept"] + seen["returned"] == rounds
    assert seen["left a journal"] > rounds / 4, f"kills must hit the middle: {seen}"
