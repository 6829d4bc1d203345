"""A real container is created anew: nothing of it is lost, whatever interrupts it, and one has the name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.heal.protocols import NotRecreated, Recreated
from aiidpd.kernel.errors import Unavailable
from tests.fakes.docker_engine import RealDocker
from tests.fakes.docker_proxy import docker_proxy
from tests.forms import short_and_long
from tests.integration.recreate_site import ACTS, Faulty, Site
from tests.waiting import eventually

pytestmark = pytest.mark.real("docker")

LANES = 4
COUNTER = 'echo run >> /data/runs; trap "exit 0" TERM; sleep 600 & wait'


async def start(
    site: Site, docker: RealDocker, *options: str, command: tuple[str, ...] = ("sleep", "600")
) -> str:
    run: tuple[str, ...] = ("run", "-d", "--init", "--name", site.name)
    if not {"--network", "--link"} & set(options):
        run = (*run, "--network", "none")
    return await docker.docker(*run, *options, docker.image, *command)


@pytest.fixture
async def site(docker: RealDocker, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path, docker.socket, docker.name("site"))
    yield site
    await site.aclose()
    left = await site.names()
    await docker.docker("rm", "-f", "-v", *left) if left else ""


@pytest.fixture
async def rich(docker: RealDocker, site: Site) -> AsyncIterator[Site]:
    """A container with volumes, two networks and labels."""
    networks = [docker.name("one"), docker.name("two")]
    for network in networks:
        await docker.docker("network", "create", network)
    await start(
        site, docker, "--network", networks[0], "--network-alias", "engine", "-v", "/anonymous", "-v",
        f"{docker.name('volume')}:/data", "--label", "aiidpd.heal=recreate", "--restart", "unless-stopped",
    )  # fmt: skip
    await docker.docker("network", "connect", networks[1], site.name)
    yield site
    left = await site.names()
    await docker.docker("rm", "-f", "-v", *left) if left else ""
    await docker.docker("network", "rm", *networks)
    await docker.docker("volume", "rm", "-f", docker.name("volume"))


async def test_a_container_is_created_anew_as_it_was(docker: RealDocker, rich: Site) -> None:
    old, facts = await rich.id(), await rich.facts()
    await docker.docker("exec", rich.name, "touch", "/anonymous/here", "/data/there")
    recreator = rich.recreator()
    assert await recreator.check(old) is None
    done = await recreator.recreate(old, grace=5.0)
    assert done == Recreated(await rich.id(), "inspect")
    assert done.identity != old
    assert await rich.wrong(facts) == []
    await docker.docker("exec", rich.name, "test", "-e", "/anonymous/here", "-a", "-e", "/data/there")
    assert not recreator.pending


async def test_one_that_did_not_run_is_not_started(docker: RealDocker, site: Site) -> None:
    old = await start(site, docker)
    await docker.docker("stop", "-t", "1", old)
    assert isinstance(await site.recreate(), Recreated)
    assert await site.id() != old
    assert await site.state() == "created"
    assert await site.names() == [site.name]


async def test_the_new_one_starts_only_when_the_old_one_has_ended(docker: RealDocker, site: Site) -> None:
    volume = docker.name("held")
    held = "test -e /data/held && exit 9; touch /data/held"
    script = f"{held}; trap 'sleep 0.5; rm /data/held; exit 0' TERM; sleep 600 & wait"
    await start(site, docker, "-v", f"{volume}:/data", command=("sh", "-c", script))
    done = await site.recreate()
    assert isinstance(done, Recreated), done
    assert await site.state() == "running"
    await docker.docker("rm", "-f", site.name)
    await docker.docker("volume", "rm", volume)


async def test_one_that_ends_at_once_is_undone(docker: RealDocker, site: Site) -> None:
    script = "test -e /data/ran && exit 3; touch /data/ran; sleep 600"
    old = await start(site, docker, "-v", "/data", command=("sh", "-c", script))
    facts = await site.facts()
    done = await site.recreate(settle=1.0)
    assert isinstance(done, NotRecreated)
    assert "the new one ended at once, with code 3" in done.reason
    assert (await site.id(), await site.facts(), await site.names()) == (old, facts, [site.name])


async def test_one_that_does_not_start_is_undone(rich: Site) -> None:
    old, facts = await rich.id(), await rich.facts()
    done = await rich.recreate(actions=Faulty(rich.actions, at=0, how="refused", kinds=("start",)))
    assert isinstance(done, NotRecreated)
    assert done.reason == "it does not want to; the old one is back"
    assert await rich.id() == old
    assert await rich.wrong(facts) == []


async def count(site: Site, kinds: tuple[str, ...]) -> int:
    faulty = Faulty(DockerActions(site.socket), kinds=kinds)
    assert isinstance(await site.recreate(actions=faulty), Recreated)
    return len(faulty.calls)


@pytest.mark.parametrize("how", ["before", "after", "refused"])
async def test_a_call_that_fails_at_any_step_loses_nothing(rich: Site, how: str) -> None:
    facts = await rich.facts()
    ends: Counter[str] = Counter()
    for at in range(await count(rich, ACTS)):
        old = await rich.id()
        faulty = Faulty(DockerActions(rich.socket), at=at, how=how)
        try:
            done = await rich.recreate(actions=faulty)
        except Unavailable:
            await rich.recover()
        else:
            # The answer to a stop is not missed where it was obeyed; one that was refused is waited for.
            assert (how == "refused") == (faulty.calls[at] != "stop")
            assert isinstance(done, NotRecreated) == (await rich.id() == old)
        assert await rich.wrong(facts) == [], f"call {at}, {faulty.calls[at]}, {how}"
        ends["new" if await rich.id() != old else "old"] += 1
    assert ends["new"]
    assert ends["old"]


@pytest.mark.parametrize("how", ["cancelled before", "cancelled after"])
async def test_a_cancellation_at_any_step_loses_nothing(rich: Site, how: str) -> None:
    facts = await rich.facts()
    for at in range(await count(rich, ACTS)):
        with anyio.CancelScope() as scope:
            faulty = Faulty(DockerActions(rich.socket), at=at, how=how, cancel=scope.cancel)
            await rich.recreate(actions=faulty)
        assert scope.cancelled_caught
        assert await rich.state() == "running", "a stop of the daemon brings it back at once"
        await rich.recover()
        assert await rich.wrong(facts) == [], f"call {at}, {faulty.calls[at]}, {how}"


async def test_an_answer_that_is_lost_at_any_reading_loses_nothing(rich: Site) -> None:
    facts = await rich.facts()
    for at in range(0, await count(rich, ()), 2):
        with pytest.raises(Unavailable):
            await rich.recreate(actions=Faulty(DockerActions(rich.socket), at=at, how="before", kinds=()))
        await rich.recover()
        assert await rich.wrong(facts) == [], f"call {at}"


async def test_an_engine_that_is_away_for_a_while_is_waited_for(rich: Site, tmp_path: Path) -> None:
    facts, old = await rich.facts(), await rich.id()
    async with docker_proxy(rich.socket, tmp_path / "d.sock") as proxy:
        actions = DockerActions(proxy.socket, call_timeout=1.0)
        recreator = rich.recreator(actions)
        proxy.stalled_paths.add("/start")
        with pytest.raises(Unavailable):
            await recreator.recreate(old, grace=5.0)
        assert recreator.pending
        await proxy.close()
        (left,) = await recreator.recover()
        assert left.pending
        assert "nothing listens" in left.problem
        await proxy.open()
        # A busy engine may not answer each call in time, which is waited for as well.
        (done,) = await eventually(recreator.recover, lambda found: not found[0].pending)
        assert done.recreated
        assert not recreator.pending
    assert await rich.wrong(facts) == []


async def test_one_that_a_person_has_put_in_its_place_is_left_alone(docker: RealDocker, site: Site) -> None:
    await start(site, docker)
    faulty = Faulty(DockerActions(site.socket), at=1, how="before", kinds=("rename",))
    with pytest.raises(Unavailable):
        await site.recreate(actions=faulty)
    theirs = await start(site, docker)
    (done,) = await site.recover()
    assert "another container has its name" in done.problem
    assert await site.id() == theirs
    assert await site.state() == "running"
    put_aside = [name for name in await site.names() if name != site.name]
    assert [site.name + "-aiidpd-old" in name for name in put_aside] == [True], (
        "it is no business of ours to remove it"
    )


@pytest.mark.parametrize("which", ["old", "new", "both"])
async def test_one_that_a_person_removes_meanwhile_harms_nothing(
    docker: RealDocker, site: Site, which: str
) -> None:
    await start(site, docker)
    faulty = Faulty(DockerActions(site.socket), at=0, how="before", kinds=("start",))
    with pytest.raises(Unavailable):
        await site.recreate(actions=faulty)
    names = await site.names()
    gone = {"old": names[1:], "new": names[:1], "both": names}[which]
    await docker.docker("rm", "-f", *gone)
    (done,) = await site.recover()
    if which == "both":
        assert (done.problem, await site.names()) == ("somebody has removed it", [])
    else:
        assert (await site.names(), await site.state()) == ([site.name], "running")
        assert done.recreated == (which == "old")


async def test_one_that_shares_the_network_of_another_follows_its_successor(
    docker: RealDocker, rich: Site, tmp_path: Path
) -> None:
    first = await rich.id()
    dependant = Site(tmp_path, docker.socket, docker.name("dependant"))
    await start(dependant, docker, "--network", f"container:{first}")
    await rich.recreate()
    assert isinstance(await rich.recreate(), Recreated)
    done = await dependant.recreate()
    assert isinstance(done, Recreated), done
    found = await dependant.describe()
    assert found["HostConfig"]["NetworkMode"] == f"container:{await rich.id()}"
    assert found["State"]["Status"] == "running"
    await docker.docker("rm", "-f", dependant.name)
    await dependant.aclose()


async def refused(site: Site, docker: RealDocker) -> NotRecreated:
    """Return why the container is not created anew; it must be as it was, and nothing beside it."""
    old, state = await site.id(), await site.state()
    faulty = Faulty(DockerActions(docker.socket))
    found = await site.recreator(faulty).check(old)
    done = await site.recreate(actions=faulty)
    assert isinstance(done, NotRecreated)
    assert done == found
    assert faulty.calls == []
    assert (await site.id(), await site.state(), await site.names()) == (old, state, [site.name])
    return done


async def test_what_removes_itself_is_refused(docker: RealDocker, site: Site) -> None:
    await start(site, docker, "--rm")
    assert "removes itself" in (await refused(site, docker)).reason


async def test_what_is_paused_is_refused(docker: RealDocker, site: Site) -> None:
    await start(site, docker)
    await docker.docker("pause", site.name)
    assert (await refused(site, docker)).reason == "it is paused"
    await docker.docker("unpause", site.name)


async def test_what_has_written_much_into_its_own_layer_is_refused_until_that_may_go(
    docker: RealDocker, site: Site
) -> None:
    write = "dd if=/dev/zero of=/models bs=1048576 count=70; sleep 600"
    await start(site, docker, command=("sh", "-c", write))
    with anyio.fail_after(60):
        while "70 MiB" not in getattr(await site.recreator().check(await site.id()), "reason", ""):  # noqa: ASYNC110
            await anyio.sleep(0.1)
    found = await refused(site, docker)
    assert found.reason == "70 MiB that it has written into its own layer (/models) would be lost"
    assert found.remedy == "mount a volume there, or set the label aiidpd.recreate.layer=discard"
    await docker.docker("rm", "-f", site.name)
    await start(site, docker, "--label", "aiidpd.recreate.layer=discard", command=("sh", "-c", write))
    assert await site.recreator().check(await site.id()) is None


async def test_legacy_links_are_refused(docker: RealDocker, site: Site) -> None:
    # Created only: to start, they need the engine's own bridge, which another engine may have taken away.
    other = await docker.docker("create", "--name", docker.name("linked"), docker.image, "true")
    await docker.docker("create", "--name", site.name, "--link", f"{other}:db", docker.image, "true")
    assert "legacy links" in (await refused(site, docker)).reason


async def test_what_is_gone_is_named(docker: RealDocker, site: Site) -> None:
    network, other = docker.name("gone"), docker.name("target")
    await docker.docker("network", "create", network)
    await start(site, docker, "--network", network)
    await docker.docker("stop", "-t", "0", site.name)
    await docker.docker("network", "rm", network)
    assert (await refused(site, docker)).reason == f"its network {network} is gone"
    await docker.docker("rm", site.name)

    identity = await docker.run("target")
    await start(site, docker, "--network", f"container:{identity}")
    await docker.docker("rm", "-f", other)
    assert (await refused(site, docker)).reason == f"its container {identity} is gone"


async def test_one_that_was_disconnected_from_everything_is_refused(docker: RealDocker, site: Site) -> None:
    network = docker.name("left")
    await docker.docker("network", "create", network)
    await start(site, docker, "--network", network)
    await docker.docker("network", "disconnect", network, site.name)
    await docker.docker("network", "rm", network)
    assert "disconnected from all of its networks" in (await refused(site, docker)).reason


async def test_one_whose_images_name_has_moved_gets_the_image_that_it_has(
    docker: RealDocker, site: Site
) -> None:
    tag = f"{docker.image}-moves"
    await docker.docker("tag", docker.image, tag)
    await docker.docker("run", "-d", "--init", "--network", "none", "--name", site.name, tag, "sleep", "600")
    image = (await site.facts())["image"]
    container = await docker.docker("commit", "-m", "another", site.name, tag)
    assert container != image
    assert isinstance(await site.recreate(), Recreated)
    assert (await site.facts())["image"] == image
    await docker.docker("rmi", tag)


async def test_a_journal_that_cannot_be_read_or_written_leaves_all_alone(
    docker: RealDocker, rich: Site
) -> None:
    old, facts = await rich.id(), await rich.facts()
    journal = rich.folder / "recreations.json"
    journal.mkdir()
    found = await refused(rich, docker)
    assert str(journal) in found.reason
    journal.rmdir()
    journal.write_text('{"version": 2}')
    found = await refused(rich, docker)
    assert str(journal) in found.reason
    assert "remove the file" in found.remedy
    assert await rich.id() == old
    assert await rich.wrong(facts) == []


def lane(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@short_and_long("rounds", 24, 100)
async def test_whatever_kills_a_daemon_that_recreates_one_container_has_the_name_and_runs(
    docker: RealDocker, tmp_path: Path, rounds: int
) -> None:
    lanes = []
    for seed in range(LANES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        site = Site(folder, docker.socket, docker.name(f"lane{seed}of{rounds}"))
        await docker.docker("network", "create", f"{site.name}-net")
        await docker.docker("network", "create", f"{site.name}-two")
        await start(
            site, docker, "-v", "/anonymous", "-v", f"{site.name}-data:/data",
            "--network", f"{site.name}-net", "--network-alias", "engine", "--restart", "always",
        )  # fmt: skip
        await docker.docker("network", "connect", f"{site.name}-two", site.name)
        arguments = [str(folder), str(docker.socket), site.name, str(seed), str(rounds // LANES)]
        lanes.append(lane([sys.executable, "-m", "tests.integration.recreate_scenario", *arguments]))
        await site.aclose()
    seen: Counter[str] = Counter()
    for one in lanes:
        out, err = await anyio.to_thread.run_sync(one.communicate)
        assert one.returncode == 0, err
        told = json.loads(out.splitlines()[-1])
        assert told["wrong"] == []
        seen += Counter(told["seen"])
    for seed in range(LANES):
        name = docker.name(f"lane{seed}of{rounds}")
        await docker.docker("rm", "-f", "-v", name)
        await docker.docker("network", "rm", f"{name}-net", f"{name}-two")
        await docker.docker("volume", "rm", f"{name}-data")
    assert seen["right"] == rounds
    assert seen["left a journal"] > rounds / 4, "kills must hit the middle"
    assert seen["old was not running"] > rounds / 20, seen
