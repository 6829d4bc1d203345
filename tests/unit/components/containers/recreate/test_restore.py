"""Re-creations that are recovered without a daemon, on a runtime in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiidpd.components.containers.recreate.controller import ContainerRecreator
from aiidpd.components.containers.recreate.journal import NAME, RecreationJournal
from aiidpd.components.containers.recreate.restore import recover_all
from tests.unit.components.containers.recreate.test_controller import House, Killed


@pytest.fixture
async def house(tmp_path: Path) -> House:
    """One whose process was killed as it was about to stop the old container."""
    house = House(tmp_path)
    stop = house.actions.stop

    async def killed(_: str, __: float) -> bool:
        raise Killed

    house.actions.stop = killed  # type: ignore[method-assign]
    assert await house.recreate() == "killed"
    house.actions.stop = stop  # type: ignore[method-assign]
    return house


async def restore(house: House, *, within: float) -> tuple[bool, list[str]]:
    journal = RecreationJournal(house.folder / NAME)
    recreator = ContainerRecreator(house.actions, journal, compose=None, clock=house.clock)
    lines: list[str] = []
    done = await recover_all(recreator, journal, house.clock, within=within, report=lines.append)
    assert done == (not journal.active)
    return done, lines


async def test_an_old_one_that_runs_is_not_stopped_where_its_successor_might_not_come_up(
    house: House,
) -> None:
    done, lines = await restore(house, within=0.1)
    assert not done
    assert lines == [
        (
            "container llm: its re-creation is not finished: the old one runs, and is not stopped now; "
            "the next daemon finishes it"
        )
    ]
    assert house.actions.containers[house.first]["State"]["Status"] == "running"
    await house.recover()
    house.whole()


async def test_one_that_is_stopping_yet_is_waited_for(house: House) -> None:
    describe = house.actions.describe
    calls = 0

    async def ends_meanwhile(identity: str, *, size: bool = False) -> object:
        nonlocal calls
        calls += 1
        if calls == 20:
            house.actions.containers[house.first]["State"]["Status"] = "exited"
        return await describe(identity, size=size)

    house.actions.describe = ends_meanwhile  # type: ignore[method-assign, assignment]
    done, lines = await restore(house, within=60.0)
    assert (done, lines) == (
        True,
        ["container llm: its re-creation was cut short: the new container has its place"],
    )
    house.whole()
