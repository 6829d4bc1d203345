from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.energy.attribution import (
    HOST,
    IDLE,
    OTHERS,
    UNKNOWN,
    Share,
    Sharing,
    bounded,
    share_out,
)
from aiidpd.components.thermal.energy.counter import EnergyCounter, Method, advance
from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.energy.per_token import CountedBy, Generation, cost_of_million, per_token
from aiidpd.components.thermal.energy.series import CumulativeSeries
from aiidpd.components.thermal.gpu import GpuProcess, GpuReading
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event
from aiidpd.kernel.publisher import Publisher
from tests.believed import believed
from tests.fakes.clock import FakeClock, settle
from tests.heartbeat import heartbeat
from tests.waiting import PATIENCE, until

A, B = "a" * 64, "b" * 64
WRAP = 2**32 / 1000


def reading(
    counter: float | None = None,
    power: float | None = None,
    processes: tuple[GpuProcess, ...] | None = None,
) -> GpuReading:
    return GpuReading(0, "GPU-0", "card", energy_joules=counter, power_watts=power, processes=processes)


def process(pid: int, memory: float | None, container: str | None) -> GpuProcess:
    return GpuProcess(pid, "compute", "python", memory, container)


def run(steps: list[tuple[float, float | None, float | None]]) -> tuple[EnergyCounter, float]:
    meter, total = EnergyCounter(), 0.0
    for at, counter, power in steps:
        meter, joules = advance(meter, reading(counter, power), at)
        total += joules
    return meter, total


steps = st.lists(
    st.tuples(
        st.floats(0.05, 30.0),
        st.one_of(st.none(), st.floats(0.0, 1e7), st.just(2**32 / 1000), st.just(1.8e16)),
        st.one_of(st.none(), st.floats(0.0, 1000.0)),
    ),
    max_size=40,
)


@given(steps)
def test_energy_never_falls_and_never_exceeds_what_a_card_can_draw(
    given_: list[tuple[float, float | None, float | None]],
) -> None:
    meter, at, before = EnergyCounter(), 0.0, 0.0
    for elapsed, counter, power in given_:
        at += elapsed
        meter, joules = advance(meter, reading(counter, power), at)
        assert joules >= 0
        assert meter.joules == pytest.approx(before + joules)
        before = meter.joules
    # The bound of belief: 2.5 kW, and a second of it more at each counter.
    assert meter.joules <= 2500.0 * (at + len(given_) + 1)


@given(st.lists(st.floats(0.0, 600.0), min_size=2, max_size=60), st.floats(0.1, 9.0))
def test_a_counter_and_its_power_agree(powers: list[float], period: float) -> None:
    counted, at, total = [], 0.0, 5.0
    for number, power in enumerate(powers):
        if number:
            total += period * (powers[number - 1] + power) / 2
        counted.append((at, total, None))
        at += period
    by_counter, _ = run([(at, counter, None) for at, counter, _ in counted])
    by_power, _ = run([(at, None, power) for (at, _, _), power in zip(counted, powers, strict=True)])
    assert by_counter.joules == pytest.approx(total - 5.0, abs=1e-6)
    assert by_power.joules == pytest.approx(total - 5.0, abs=1e-6)
    assert by_counter.error <= by_power.error + 1e-9


def test_the_card_s_counter_counts_over_a_gap_and_power_does_not() -> None:
    meter, _ = run([(0, 100.0, 50.0), (3600, 180_100.0, 50.0)])
    assert (meter.counted, meter.method, meter.unknown) == (180_000.0, Method.COUNTER, 0.0)
    meter, _ = run([(0, None, 50.0), (5, None, 150.0), (3605, None, 150.0), (3606, None, 150.0)])
    assert (meter.integrated, meter.method, meter.unknown) == (500.0 + 150.0, Method.POWER, 3600.0)


@pytest.mark.parametrize(
    ("steps", "joules", "resets"),
    [
        (
            [(0, 5000.0, None), (1, 5100.0, None), (2, 30.0, None), (3, 130.0, None)],
            230.0,
            1,
        ),  # driver reloaded
        ([(0, WRAP - 40.0, None), (1, 60.0, None)], 100.0, 1),  # 32 bits of millijoules
        ([(0, 5e6, None), (1, 4e6, None), (2, 4e6 + 50, None)], 50.0, 1),  # began anew before we were there
        ([(0, 100.0, None), (1, 1.8e16, None), (2, 300.0, None)], 200.0, 0),  # garbage between
    ],
)
def test_a_counter_that_falls_or_leaps(
    steps: list[tuple[float, float | None, float | None]], joules: float, resets: int
) -> None:
    meter, _ = run(steps)
    assert (pytest.approx(meter.joules), meter.resets) == (joules, resets)


def test_power_fills_in_where_the_counter_fails_and_is_not_counted_twice() -> None:
    meter, _ = run([(0, 1000.0, 100.0), (1, None, 100.0), (2, None, 100.0), (3, 1330.0, 100.0)])
    assert meter.integrated == 200.0
    assert meter.joules == pytest.approx(330.0)


holders = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.one_of(st.none(), st.integers(0, 2**34)),
        st.sampled_from([None, A, B, "c" * 64]),
    ),
    max_size=6,
)


@given(st.lists(st.tuples(st.floats(0.0, 1e4), st.one_of(st.none(), holders)), max_size=12))
def test_shares_add_up_and_lie_within_their_bounds(
    given_: list[tuple[float, list[tuple[int, int | None, str | None]] | None]],
) -> None:
    shares: dict[str, Share] = {}
    for joules, held in given_:
        processes = held and [process(pid, memory, container) for pid, memory, container in held]
        shares = dict(share_out(shares, joules, processes if held is not None else None, {A: "vllm"}))
    assert sum(share.joules for share in shares.values()) == pytest.approx(sum(j for j, _ in given_))
    for share in shares.values():
        assert share.certain <= share.joules * (1 + 1e-9) <= share.possible * (1 + 1e-6)


def test_who_held_the_gpu_gets_its_energy() -> None:
    names = {A: "vllm"}
    assert share_out({}, 10.0, None, names)[UNKNOWN].joules == 10.0
    assert share_out({}, 10.0, [], names)[IDLE].joules == 10.0
    alone = share_out({}, 10.0, [process(1, 5.0, A), process(2, None, A)], names)
    assert alone == {"vllm": Share(10.0, 10.0, 10.0, Sharing.ALONE)}
    by_memory = share_out({}, 10.0, [process(1, 30.0, A), process(2, 10.0, None)], names)
    assert by_memory["vllm"] == Share(7.5, 0.0, 10.0, Sharing.MEMORY)
    assert by_memory[HOST].joules == 2.5
    equal = share_out({}, 10.0, [process(1, None, A), process(2, 10.0, B)], names)
    assert equal["vllm"].shared is Sharing.EQUAL
    assert equal["b" * 12].joules == 5.0  # a container that nobody has named


def test_a_process_of_two_kinds_is_one_holder() -> None:
    both = [process(1, 30.0, A), replace(process(1, 30.0, A), kind="graphics"), process(2, 30.0, B)]
    assert share_out({}, 10.0, both, {})["a" * 12].joules == 5.0


def test_holders_beyond_the_bound_become_others_and_nothing_is_lost() -> None:
    shares = {str(number): Share(float(number), 0.0, float(number)) for number in range(10)} | {
        HOST: Share(1.0)
    }
    few = bounded(shares, 5)
    assert len(few) <= 5
    assert {HOST, OTHERS, "9"} <= set(few)
    assert sum(share.joules for share in few.values()) == sum(range(10)) + 1
    assert bounded(few | {"new": Share(0.5)}, 5)[OTHERS].joules >= few[OTHERS].joules


def generation(start: float, end: float, tokens: int) -> Generation:
    return Generation("local", start, end, tokens, CountedBy.PROBES)


def test_a_token_s_energy_and_its_cost_with_honest_bounds() -> None:
    series = CumulativeSeries(tuple((float(second), second * 200.0) for second in range(11)))
    found = per_token(generation(2.0, 7.0, 100), series)
    assert found is not None
    assert found.joules == pytest.approx(10.0)
    assert found.low == pytest.approx(9.5)
    assert found.high == pytest.approx(10.5)
    assert cost_of_million(found.joules, 0.30) == pytest.approx(10.0 * 1e6 / 3.6e6 * 0.30)


@given(st.lists(st.floats(0.0, 600.0), min_size=12, max_size=12), st.floats(0.0, 10.0), st.floats(0.05, 1.0))
def test_the_bounds_hold_whatever_happened_between_two_readings(
    powers: list[float], start: float, split: float
) -> None:
    """In each second all of the energy may have been drawn at its very begin or its very end."""
    total, points = 0.0, [(0.0, 0.0)]
    for second, power in enumerate(powers, start=1):
        total += power
        points.append((float(second), total))
    end = min(12.0, start + split * 2 + 0.01)
    found = CumulativeSeries(tuple(points)).between(start, end)
    assert found is not None
    joules, error = found
    for early in (True, False):

        def upto(moment: float, early: bool = early) -> float:
            whole = int(moment)
            if moment == whole:
                return points[whole][1]
            return points[whole + 1][1] if early else points[whole][1]

        true = upto(end) - upto(start)
        assert joules - error - 1e-6 <= true <= joules + error + 1e-6


@pytest.mark.parametrize(
    ("start", "end", "tokens"), [(-1.0, 2.0, 5), (2.0, 11.0, 5), (3.0, 3.0, 5), (2.0, 3.0, 0)]
)
def test_what_is_not_on_record_has_no_figure(start: float, end: float, tokens: int) -> None:
    series = CumulativeSeries(tuple((float(second), second * 200.0) for second in range(11)))
    assert per_token(generation(start, end, tokens), series) is None


class Account:
    """A meter with a state file, and GPUs that a test lets run."""

    def __init__(self, path: Path, clock: FakeClock, counted: list[Generation] | None = None) -> None:
        self.clock = clock
        self.events: list[Event] = []
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.meter = EnergyMeter(
            path,
            Publisher(bus, clock, "thermal"),
            clock,
            names=lambda: {A: "vllm"},
            generations=lambda: counted or [],
        )

    async def run(self, seconds: int, counter: float, watts: float, *, simulated: bool = False) -> float:
        for _ in range(seconds):
            await self.clock.advance(1.0)
            counter += watts
            shown = reading(counter, watts, (process(1, 5.0, A),))
            now, at = self.clock.monotonic(), self.clock.time()
            self.meter.on_snapshot(believed([shown], now, at=at, simulated=simulated))
        return counter

    @property
    def joules(self) -> float:
        return self.meter.view().gpus[0].meter.joules


def inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


async def saved(account: Account) -> None:
    path = account.meter._file.path
    before = inode(path)
    async with anyio.create_task_group() as group:
        group.start_soon(account.meter.run, heartbeat(account.clock))
        await settle()
        group.cancel_scope.cancel()
    until(lambda: inode(path) != before)  # the daemon does not wait for a slow disk; a test does


async def test_sums_go_on_after_a_restart_and_count_what_the_card_did_meanwhile(
    tmp_path: Path, clock: FakeClock
) -> None:
    first = Account(tmp_path / "energy.json", clock)
    counter = await first.run(11, 1000.0, 100.0)
    assert first.joules == 1000.0
    await saved(first)
    await clock.advance(60.0)
    second = Account(tmp_path / "energy.json", clock)
    assert second.joules == 1000.0
    await second.run(1, counter + 6000.0, 100.0)
    assert second.joules == 1000.0 + 6100.0
    shares = second.meter.view().shares
    assert shares["vllm"].joules == 1000.0
    assert shares[UNKNOWN].joules == 6100.0  # nobody saw who held it
    assert second.meter.view().since == first.meter.view().since


async def test_a_reboot_meanwhile_is_an_honest_reset(tmp_path: Path, clock: FakeClock) -> None:
    first = Account(tmp_path / "energy.json", clock)
    await first.run(11, 1_000_000.0, 100.0)
    await saved(first)
    await clock.advance(60.0)
    second = Account(tmp_path / "energy.json", clock)
    await second.run(2, 500.0, 100.0)
    assert second.joules == 1000.0 + 600.0 + 100.0
    assert second.meter.view().gpus[0].meter.resets == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 9}', "null", '{"format": 1, "gpus": [1]}'])
async def test_a_damaged_account_begins_anew_and_is_published(
    tmp_path: Path, clock: FakeClock, text: str
) -> None:
    (tmp_path / "energy.json").write_text(text)
    account = Account(tmp_path / "energy.json", clock)
    assert account.meter.view().gpus == ()
    await account.run(3, 0.0, 100.0)
    await saved(account)
    assert [event.kind for event in account.events] == ["gpu.energy_not_kept"]
    assert json.loads((tmp_path / "energy.json").read_text())["gpus"][0]["meter"]["counted"] == 200.0


async def test_a_disk_that_refuses_is_published_once_and_costs_nothing_else(
    tmp_path: Path, clock: FakeClock
) -> None:
    account = Account(tmp_path / "no" / "energy.json", clock)
    async with anyio.create_task_group() as group:
        group.start_soon(account.meter.run, heartbeat(account.clock))
        for _ in range(3):
            await clock.advance(61.0)
            with anyio.fail_after(PATIENCE):
                while not account.events:  # noqa: ASYNC110 -- a thread tries the disk
                    await anyio.sleep(0.005)
        group.cancel_scope.cancel()
    assert [event.kind for event in account.events] == ["gpu.energy_not_kept"]


async def test_what_is_made_up_and_what_is_real_have_no_common_account(
    tmp_path: Path, clock: FakeClock
) -> None:
    account = Account(tmp_path / "energy.json", clock)
    await account.run(10, 0.0, 100.0, simulated=True)
    assert account.meter.view().gpus[0].simulated
    await account.run(3, 0.0, 100.0)
    assert account.joules == 200.0
    assert not account.meter.view().gpus[0].simulated


async def test_a_probe_is_priced_once_its_time_is_on_record(tmp_path: Path, clock: FakeClock) -> None:
    counted: list[Generation] = []
    account = Account(tmp_path / "energy.json", clock, counted)
    counter = await account.run(20, 0.0, 200.0)
    counted.append(generation(clock.time() - 4.0, clock.time() + 1.0, 100))
    assert account.meter.view().tokens == ()
    await account.run(8, counter, 200.0)
    (token,) = account.meter.view().tokens
    assert token.joules == pytest.approx(10.0)
    assert not token.generation.simulated
