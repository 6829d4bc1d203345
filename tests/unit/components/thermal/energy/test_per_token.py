"""Energy per token, against machines of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.energy.per_token import (
    LONGEST_GAP,
    WINDOW,
    CountedBy,
    Generation,
    TokenCount,
    TokenEnergy,
    TokenMeter,
    TokenWindow,
)
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.publisher import Publisher
from tests.believed import believed
from tests.fakes.clock import FakeClock

IDLE_WATTS, WORK_WATTS, TOKENS_A_SECOND = 30.0, 300.0, 100.0
CARD = 0.05


@dataclass(frozen=True)
class Machine:
    """Requests one after another, as (begin, end); the GPU draws more while one runs.

    ``at_end``: the engine counts a request's tokens when it ends, as llama.cpp does.
    """

    requests: tuple[tuple[float, float], ...]
    at_end: bool = False

    def _worked(self, at: float) -> float:
        return sum(max(0.0, min(at, end) - begin) for begin, end in self.requests)

    def joules(self, at: float) -> float:
        return IDLE_WATTS * at + (WORK_WATTS - IDLE_WATTS) * self._worked(at)

    def busy(self, at: float) -> bool:
        return any(begin <= at < end for begin, end in self.requests)

    def generated(self, at: float) -> float:
        return TOKENS_A_SECOND * self._worked(at)

    def counted(self, at: float) -> int:
        if not self.at_end:
            return int(self.generated(at))
        return int(sum(TOKENS_A_SECOND * (end - begin) for begin, end in self.requests if end <= at))

    def count(self, at: float) -> TokenCount:
        longest = max((TOKENS_A_SECOND * (end - begin) for begin, end in self.requests), default=0.0)
        lacks = int(longest) + 1 if self.at_end else 1
        return TokenCount("e", at, self.counted(at), lacks if self.busy(at) else 0, self.busy(at))

    def window(self, until: float, every: float = 5.0) -> TokenWindow:
        window = TokenWindow()
        at = 0.0
        while at <= until:
            window.add(self.count(at), self.joules(at), 0.0)
            at += every
        return window


def figure(machine: Machine, until: float) -> TokenEnergy | None:
    return machine.window(until).figure(CARD)


def test_steady_work_has_its_figure_and_a_narrow_band() -> None:
    found = figure(Machine(((100.0, 700.0),)), 900.0)
    assert found is not None
    true = WORK_WATTS / TOKENS_A_SECOND
    assert found.joules == pytest.approx(true, rel=0.01)
    assert found.low <= true <= found.high
    assert found.high / found.low < 1.15
    assert found.generation.counted_by is CountedBy.ENGINE
    assert found.generation.tokens == 60_000
    assert found.with_idle == pytest.approx((WORK_WATTS * 600 + IDLE_WATTS * 300) / 60_000)


def test_what_the_energy_at_a_count_can_be_off_by_widens_the_band() -> None:
    machine, windows = Machine(((100.0, 200.0),)), (TokenWindow(), TokenWindow())
    for at in range(0, 300, 10):
        for window, cut in zip(windows, (0.0, 50.0), strict=True):
            window.add(machine.count(at), machine.joules(at), cut)
    sharp, blurred = (window.figure(0.0) for window in windows)
    assert sharp is not None
    assert blurred is not None
    # At both ends, and on both sides of each turn: idle to edge, edge to work, and back.
    assert (sharp.low - blurred.low) * 10_000 >= 2 * 50.0
    assert (blurred.high - sharp.high) * 10_000 >= 2 * 50.0
    assert blurred.joules == sharp.joules


def test_an_engine_that_is_never_idle_is_known_by_what_grew() -> None:
    found = figure(Machine(((-1000.0, 2000.0),)), 600.0)
    assert found is not None
    assert found.low <= WORK_WATTS / TOKENS_A_SECOND <= found.high
    # llama.cpp counts nothing of a request that goes on: then there is nothing to be said.
    assert figure(Machine(((-1000.0, 2000.0),), at_end=True), 600.0) is None


def test_an_engine_that_counts_at_the_end_is_measured_where_it_was_idle() -> None:
    machine = Machine(((100.0, 250.0), (300.0, 480.0), (550.0, 2000.0)), at_end=True)
    found = figure(machine, 600.0)  # in the middle of the last, of which nothing is counted
    assert found is not None
    assert found.generation.tokens == 33_000
    assert found.low <= WORK_WATTS / TOKENS_A_SECOND <= found.high
    assert found.high / found.low < 1.3


def test_where_work_was_never_seen_twice_in_a_row_nothing_is_said() -> None:
    short = tuple((at, at + 1.0) for at in range(2, 600, 60))
    assert figure(Machine(short), 600.0) is None


def test_without_tokens_there_is_no_figure() -> None:
    assert figure(Machine(()), 600.0) is None
    assert TokenWindow().figure(CARD) is None


# Of each request and each pause more than two counts: in between nothing can hide from them.
spans = st.lists(st.tuples(st.floats(11.0, 80.0), st.floats(11.0, 200.0)), min_size=1, max_size=8)


@given(spans, st.booleans(), st.floats(20.0, 900.0))
def test_the_band_holds_the_truth(lengths: list[tuple[float, float]], at_end: bool, until: float) -> None:
    requests, at = [], 3.0
    for pause, work in lengths:
        requests.append((at + pause, at + pause + work))
        at = requests[-1][1]
    machine = Machine(tuple(requests), at_end)
    found = figure(machine, until)
    assume(found is not None)
    assert found is not None
    true = WORK_WATTS / TOKENS_A_SECOND
    assert found.low <= true * (1 + 1e-3)
    assert found.high >= true * (1 - 1e-3)
    assert found.low <= found.joules <= found.high
    assert found.with_idle is not None
    assert found.with_idle >= found.joules * (1 - 1e-9)


@given(
    st.lists(st.tuples(st.floats(0.5, 40.0), st.floats(0.5, 40.0)), min_size=1, max_size=30),
    st.booleans(),
)
def test_work_between_two_counts_is_paid_for_all_the_same(
    lengths: list[tuple[float, float]], at_end: bool
) -> None:
    requests, at = [], 0.0
    for pause, work in lengths:
        requests.append((at + pause, at + pause + work))
        at = requests[-1][1]
    found = Machine(tuple(requests), at_end).window(at + 10.0).figure(0.0)
    if found is not None:
        assert found.high >= WORK_WATTS / TOKENS_A_SECOND * (1 - 2e-3)


counts = st.lists(
    st.tuples(
        st.floats(0.1, 2 * LONGEST_GAP),
        st.integers(0, 10**6),
        st.one_of(st.none(), st.integers(0, 10**4)),
        st.booleans(),
        st.floats(0, 1e5),
        st.floats(0, 100),
    ),
    max_size=40,
)


@given(counts)
def test_whatever_an_engine_counts_no_figure_is_negative_nor_outside_its_band(
    given_: list[tuple[float, int, int | None, bool, float, float]],
) -> None:
    window, at, joules = TokenWindow(), 0.0, 0.0
    for gap, tokens, uncounted, working, spent, cut in given_:
        at, joules = at + gap, joules + spent
        window.add(TokenCount("e", at, tokens, uncounted, working), joules, cut)
        found = window.figure(CARD)
        if found is not None:
            assert 0 < found.low <= found.joules <= found.high
            assert found.generation.tokens > 0
            assert 0 < found.generation.ended_at - found.generation.started_at <= WINDOW


def test_a_restart_or_a_long_time_out_of_sight_begins_anew() -> None:
    for later in (
        TokenCount("e", 610.0, 5, 1, working=True),  # its counter fell
        TokenCount("e", 600.0 + LONGEST_GAP + 1, 10**6, 1, working=True),
    ):
        window = Machine(((-1000.0, 2000.0),)).window(600.0)
        assert window.figure(CARD) is not None
        window.add(later, 10**6, 0.0)
        assert window.figure(CARD) is None


def test_after_a_restart_only_the_time_since_counts() -> None:
    window = TokenWindow()
    for at, tokens in enumerate([1000, 2000, 5, 5005, 10_005, 15_005]):
        window.add(TokenCount("e", 10.0 * at, tokens, 1, working=True), 1000.0 * at, 0.0)
    found = window.figure(0.0)
    assert found is not None
    assert (found.generation.started_at, found.generation.tokens) == (20.0, 15_000)


def test_a_window_is_an_hour() -> None:
    window = TokenWindow()
    for at in range(0, 3 * 3600, 10):
        window.add(TokenCount("e", float(at), at * 100, 1, working=True), at * 300.0, 0.0)
    found = window.figure(CARD)
    assert found is not None
    assert found.generation.ended_at - found.generation.started_at == WINDOW
    assert found.joules == pytest.approx(3.0)


class Metered:
    """A token meter that sees a machine: the GPUs each second, the engine each 5 s."""

    def __init__(self) -> None:
        self.counts: list[TokenCount] = []
        self.generations: list[Generation] = []
        self.accuracy = CARD
        self.meter = TokenMeter(lambda: self.generations, lambda: self.counts)

    def run(
        self, machine: Machine, start: int, end: int, *, simulated: bool = False, clock_off: float = 0.0
    ) -> None:
        for at in range(start, end):
            if at % 5 == 0:
                count = machine.count(at - 0.4)  # between two readings of the GPU
                self.counts = [replace(count, at=count.at + clock_off)]
            spent = machine.joules(at) - machine.joules(at - 1)
            self.meter.add(spent, at + clock_off, float(at), accuracy=self.accuracy, simulated=simulated)

    @property
    def figure(self) -> TokenEnergy:
        (found,) = self.meter.figures()
        return found


def test_the_engine_s_count_goes_before_our_probe_s_and_falls_back_to_it() -> None:
    metered, machine = Metered(), Machine(((50.0, 170.0),))
    metered.generations = [Generation("e", 10.0, 12.0, 20, CountedBy.PROBES)]
    metered.run(machine, 0, 40)
    assert metered.figure.generation.counted_by is CountedBy.PROBES
    metered.run(machine, 40, 200)
    assert metered.figure.generation.counted_by is CountedBy.ENGINE
    assert metered.figure.joules == pytest.approx(3.0, rel=0.05)
    assert metered.figure.low <= 3.0 <= metered.figure.high
    metered.counts = []  # it is not read any more
    for at in range(200, 400):
        metered.meter.add(30.0, float(at), float(at), accuracy=CARD, simulated=False)
    assert metered.figure.generation.counted_by is CountedBy.PROBES


@settings(max_examples=30)
@given(spans, st.booleans())
def test_the_band_holds_the_truth_also_between_the_readings_of_the_gpu(
    lengths: list[tuple[float, float]], at_end: bool
) -> None:
    requests, at = [], 3.0
    for pause, work in lengths[:3]:
        requests.append((at + pause, at + pause + work))
        at = requests[-1][1]
    metered = Metered()
    metered.accuracy = 0.0  # what the card's figures may be off by hides nothing here
    metered.run(Machine(tuple(requests), at_end), 0, int(at) + 20)
    for found in metered.meter.figures():
        assert found.low <= 3.0 * (1 + 1e-3)
        assert found.high >= 3.0 * (1 - 1e-3)


def test_where_the_energy_was_not_known_for_a_while_the_engine_s_figure_begins_anew() -> None:
    metered, machine = Metered(), Machine(((50.0, 170.0),))
    metered.run(machine, 0, 200)
    metered.meter.interrupt()
    assert metered.meter.figures() == ()


def test_a_clock_that_is_set_back_spoils_nothing() -> None:
    metered, machine = Metered(), Machine(((50.0, 3000.0),))
    metered.run(machine, 0, 200)
    metered.run(machine, 200, 300, clock_off=-140.0)
    assert metered.figure.generation.started_at >= 60.0 - 1
    assert metered.figure.generation.ended_at > 150.0
    assert metered.figure.low <= 3.0 <= metered.figure.high


def test_what_is_made_up_says_so_whichever_part_it_is() -> None:
    metered = Metered()
    metered.run(Machine(((50.0, 170.0),)), 0, 200, simulated=True)
    assert metered.figure.generation.simulated


def test_a_gpu_that_comes_or_goes_begins_the_tokens_energy_anew(tmp_path: Path, clock: FakeClock) -> None:
    machine, counts = Machine(((-100.0, 1e6),)), []
    publisher = Publisher(EventBus(), clock, "thermal")
    meter = EnergyMeter(tmp_path / "energy.json", publisher, clock, counts=lambda: counts)

    def run(start: int, end: int, gpus: int) -> None:
        for at in range(start, end):
            if at % 5 == 0:
                counts[:] = [machine.count(at)]
            cards = tuple(GpuReading(index, f"GPU-{index}", "x", power_watts=300.0) for index in range(gpus))
            meter.on_snapshot(believed(cards, float(at)))

    run(0, 60, gpus=1)
    (one,) = meter.view().tokens
    assert one.joules == pytest.approx(3.0, rel=0.02)
    assert (one.high - one.low) / one.joules > 0.19  # power that was added up: 10 % either way
    run(60, 120, gpus=2)
    (two,) = meter.view().tokens
    assert two.generation.started_at >= 60.0
    assert two.joules == pytest.approx(6.0, rel=0.02)
