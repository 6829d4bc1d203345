"""A container that we stopped is missed until it runs again, over restarts of the daemon too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.stopped import (
    NAME,
    NOT_STORED,
    STOPPED,
    StoppedContainer,
    StoppedContainers,
    is_down,
)
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from tests.fakes.clock import FakeClock
from tests.unit.components.containers.stopped import register
from tests.waiting import PATIENCE

RAN = ContainerReading("a" * 64, "vllm", "image", "running", started_at=5.0)
DOWN = replace(RAN, state="exited", exit_code=143, finished_at=10.0)
OURS = StoppedContainer(RAN.id, "vllm", 5.0, 9.0, "GPU-0", "it is hot")


class House:
    """The register of a daemon, and those of the daemons after it."""

    def __init__(self, clock: FakeClock, folder: Path) -> None:
        self.clock = clock
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        self.conditions = Conditions(self.clock, EventBus())
        self.stopped: StoppedContainers = register(self.folder, self.clock, self.conditions)

    def stop(self, *, simulated: bool = False) -> None:
        with self.stopped.stopping("vllm", simulated=simulated):
            self.stopped.add(OURS, simulated=simulated)
            assert STOPPED not in self.types()  # it is not down yet
        self.stopped.wait(PATIENCE)

    async def read(self, *readings: ContainerReading, simulated: bool = False) -> None:
        await self.clock.advance(1.0)
        self.stopped.observe(readings, simulated=simulated, listed_at=self.clock.monotonic())
        self.stopped.wait(PATIENCE)

    def types(self) -> set[str]:
        return {each.type for each in self.conditions.active()}


@pytest.fixture
def house(clock: FakeClock, tmp_path: Path) -> House:
    return House(clock, tmp_path)


@pytest.mark.parametrize(
    ("reading", "down"),
    [
        (DOWN, True),
        (replace(DOWN, state="dead"), True),
        (RAN, False),
        (replace(RAN, state="paused"), False),
        (replace(RAN, started_at=50.0), False),
        (replace(DOWN, started_at=50.0), False),
        (replace(DOWN, state="restarting", started_at=50.0), False),
        (replace(DOWN, name="vllm-old"), False),
        (None, False),
    ],
)
def test_it_is_down_until_another_run_of_it_or_until_it_is_gone(
    reading: ContainerReading | None, down: bool
) -> None:
    assert is_down(OURS, reading, listed=True) is down


def test_a_reading_from_before_the_stop_says_nothing() -> None:
    assert is_down(OURS, RAN, listed=False)
    assert not is_down(OURS, replace(RAN, started_at=50.0), listed=False)


STATES = st.sampled_from(["created", "running", "paused", "restarting", "removing", "exited", "dead"])
READINGS = st.builds(
    replace,
    st.just(DOWN),
    state=STATES,
    name=st.sampled_from(["vllm", "other"]),
    started_at=st.sampled_from([None, 5.0, 50.0]),
)


@given(READINGS, st.booleans(), st.sampled_from([None, 5.0]))
def test_what_runs_as_read_after_the_stop_is_never_down(
    reading: ContainerReading, listed: bool, started: float | None
) -> None:
    ours = replace(OURS, started_at=started)
    if reading.running and listed:
        assert not is_down(ours, reading, listed=listed)
    if is_down(ours, reading, listed=listed):
        assert reading.name == "vllm"
        assert started in (None, reading.started_at)


async def test_it_lasts_over_a_restart_of_the_daemon_and_ends_with_the_next_run(house: House) -> None:
    house.stop()
    assert house.types() == {STOPPED}
    began = house.conditions.active()[0].since
    house.restart()
    house.stopped.load()
    assert house.types() == {STOPPED}
    await house.read(DOWN)
    (condition,) = house.conditions.active()
    assert (condition.subject, condition.since, condition.simulated) == ("vllm", began, False)
    await house.read(replace(RAN, started_at=50.0))
    assert house.types() == set()
    house.restart()
    await house.read(DOWN)
    assert house.types() == set()


async def test_one_that_is_stopped_a_second_time_is_down_because_of_that(house: House) -> None:
    house.stop()
    with house.stopped.stopping("vllm", simulated=False):  # its new run was not read in between
        house.stopped.add(replace(OURS, started_at=50.0, at=60.0), simulated=False)
    await house.read(replace(DOWN, started_at=50.0, finished_at=70.0))
    (condition,) = house.conditions.active()
    assert (condition.type, condition.subject) == (STOPPED, "vllm")


async def test_a_second_try_does_not_change_since_when_it_is_down(house: House) -> None:
    house.stop()
    with house.stopped.stopping("vllm", simulated=False):
        house.stopped.add(replace(OURS, at=60.0), simulated=False)
    assert house.conditions.active()[0].since == OURS.at


async def test_one_that_is_removed_while_no_daemon_runs_is_over(house: House) -> None:
    house.stop()
    house.restart()
    await house.read()
    assert house.types() == set()


async def test_one_that_can_not_be_read_stays_as_it_was(house: House) -> None:
    house.stop()
    house.stopped.observe((), [RAN.id], simulated=False, listed_at=house.clock.monotonic() + 1)
    assert house.types() == {STOPPED}


async def test_one_that_is_made_up_is_marked_so_and_not_on_the_disk(house: House) -> None:
    house.stop(simulated=True)
    (condition,) = house.conditions.active()
    assert condition.simulated
    house.restart()
    await house.read(simulated=True)
    assert house.types() == set()
    assert not (house.folder / NAME).exists()


async def test_what_is_real_is_not_over_for_what_is_made_up(house: House) -> None:
    house.stop()
    await house.read(simulated=True)  # containers.engine was set to simulated
    assert house.types() == set()
    await house.read(DOWN)
    assert house.types() == {STOPPED}
    house.stopped.switched_off()
    assert house.types() == set()
    await house.read(DOWN)
    assert house.types() == {STOPPED}


async def test_a_damaged_file_is_a_condition_until_it_is_written_anew(house: House) -> None:
    (house.folder / NAME).write_text('{"version": 1, "containers": [{}]}')
    house.stopped.load()
    (condition,) = house.conditions.active()
    assert condition.type == NOT_STORED
    assert "what was stopped before is not known" in condition.reason
    await house.read(DOWN)
    assert house.types() == set()
    assert (house.folder / f"{NAME}.unreadable").exists()


async def test_a_disk_that_refuses_is_a_condition_until_it_takes_it(house: House) -> None:
    house.stopped.load()
    (house.folder / NAME).mkdir()
    house.stop()
    await house.read(DOWN)
    assert house.types() == {STOPPED, NOT_STORED}
    (house.folder / NAME).rmdir()
    await house.read(DOWN)
    await house.read(DOWN)
    assert house.types() == {STOPPED}
    house.restart()
    await house.read(DOWN)
    assert house.types() == {STOPPED}


@pytest.mark.parametrize("ids", [("a", "a"), ("",)])
def test_a_file_that_names_one_twice_or_none_is_refused(house: House, ids: tuple[str, ...]) -> None:
    house.stop()
    document = json.loads((house.folder / NAME).read_text())
    document["containers"] = [{**document["containers"][0], "id": each} for each in ids]
    (house.folder / NAME).write_text(json.dumps(document))
    house.restart()
    house.stopped.load()
    assert house.types() == {NOT_STORED}
