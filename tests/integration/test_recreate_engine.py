"""A Docker Engine of its own is killed in the middle of re-creations, and comes back: nothing is lost."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.kernel.errors import Unavailable
from tests.fakes.own_docker import OwnDocker, own_docker
from tests.forms import short_and_long
from tests.integration.recreate_site import Site
from tests.waiting import eventually

pytestmark = pytest.mark.real("docker")


@pytest.fixture
def engine(missing: Callable[[str, str], None]) -> Iterator[OwnDocker]:
    with own_docker(missing) as found:
        yield found


@short_and_long("rounds", 4, 10)
async def test_an_engine_that_is_killed_in_the_middle_loses_nothing(
    engine: OwnDocker, tmp_path: Path, rounds: int
) -> None:
    chance = random.Random(7)
    site = Site(tmp_path, engine.socket, "victim")
    await engine.run(site.name, "--restart", "always", "-v", "/anonymous", "-v", "named:/data")
    facts = await site.facts()
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        old = await site.id()
        moment = chance.uniform(0.05, 0.9)

        async def recreate(identity: str) -> None:
            actions = DockerActions(engine.socket, call_timeout=3.0)
            try:
                await site.recreator(actions).recreate(identity, grace=5.0)
            except Unavailable:
                seen["cut"] += 1

        async with anyio.create_task_group() as group:
            group.start_soon(recreate, old)
            await anyio.sleep(moment)
            await anyio.to_thread.run_sync(engine.stop, signal.SIGKILL)
        await anyio.to_thread.run_sync(engine.start)
        await site.actions.aclose()
        await site.recover()
        # The engine may still be at the restart of what ran when it was killed.
        await eventually(lambda: site.wrong(facts), lambda wrong: wrong == [])
        seen["new" if await site.id() != old else "old"] += 1
    await site.aclose()
    assert seen["cut"], seen
