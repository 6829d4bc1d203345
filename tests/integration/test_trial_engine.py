"""A Docker Engine of its own is killed in the middle of trials: the old container serves again."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.contracts.trials import Wish
from tests.fakes.own_docker import IMAGE, OwnDocker, own_docker
from tests.forms import short_and_long
from tests.integration.trial_site import TrialSite, inspected, wrong
from tests.waiting import eventually

pytestmark = pytest.mark.real("docker")


@pytest.fixture
def engine(missing: Callable[[str, str], None]) -> Iterator[OwnDocker]:
    with own_docker(missing) as found:
        yield found


@short_and_long("rounds", 3, 12)
@pytest.mark.parametrize("policy", ["always", "no"])
async def test_an_engine_that_is_killed_in_the_middle_loses_nothing(
    engine: OwnDocker, tmp_path: Path, rounds: int, policy: str
) -> None:
    """With the policy ``always`` the engine starts whatever it finds, the one that waits too."""
    chance = random.Random(rounds)
    await engine.run("victim", "--restart", policy, "--label", "aiidpd.upgrade=allow", "-v", "/anonymous")
    await engine.docker("commit", "victim", "other:1")
    old = inspected("victim", engine.socket)["Id"]
    seen: Counter[str] = Counter()
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        site = TrialSite(
            folder, engine.socket, "victim", actions=DockerActions(engine.socket, call_timeout=3.0)
        )
        async with site.running():
            site.wish(Wish.NEW, "other:1")
            await anyio.sleep(chance.uniform(0.2, 3.0))
            await anyio.to_thread.run_sync(engine.stop, signal.SIGKILL)
            await anyio.sleep(chance.uniform(0, 1.0))
            await anyio.to_thread.run_sync(engine.start)
            state = site.book.known("t1")
            if state is None or state.plan is None or not state.plan.refusal:
                site.wish(Wish.BACK, "other:1")
                state = await site.until(lambda each: each.ended or (each.plan and each.plan.refusal))
            seen[state.ended or "not begun"] += 1
            assert site.conditions.active() == ()
        if policy == "no" and not inspected("victim", engine.socket)["State"]["Running"]:
            assert not state.stopped_seconds, "we had stopped it"
            await engine.docker("start", "victim")  # the engine has ended it, and had to
        await eventually(lambda: found(engine, old), lambda each: each == [])
    assert seen["returned"], seen
    assert inspected("victim", engine.socket)["Config"]["Image"] == IMAGE


async def found(engine: OwnDocker, old: str) -> list[str]:
    return await anyio.to_thread.run_sync(wrong, "victim", old, engine.socket)
