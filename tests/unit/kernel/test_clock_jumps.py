"""The policy by itself, and what is older than it may be by any sequence of jumps."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.clock_jumps import ClockPolicy, ClockState, begin, cut, step

DAY, NOW = 86_400.0, 1_800_000_000.0
POLICY = ClockPolicy()
STEADY, TOLERANCE = POLICY.steady, POLICY.tolerance


@dataclass
class Machine:
    """A machine whose wall clock is ``off`` by some seconds from the true time."""

    off: float = 0.0
    boot: float = 100.0
    state: ClockState = field(init=False)

    def __post_init__(self) -> None:
        self.state = begin(self.wall, self.boot)

    @property
    def true(self) -> float:
        return NOW + self.boot

    @property
    def wall(self) -> float:
        return self.true + self.off

    def after(self, seconds: float, jump: float = 0.0) -> ClockState:
        self.boot += seconds
        self.off += jump
        self.state = step(self.state, self.wall, self.boot, POLICY)
        return self.state

    def cut(self, age: float) -> float | None:
        return cut(self.state, age)


def test_nothing_is_old_before_the_clock_was_steady_for_a_while() -> None:
    machine = Machine()
    machine.after(STEADY - 1)
    assert machine.cut(DAY) is None
    machine.after(1)
    assert machine.cut(DAY) == machine.wall - DAY


def test_a_clock_that_is_ahead_for_a_while_makes_nothing_old() -> None:
    machine = Machine()
    machine.after(STEADY)
    state = machine.after(1, 10 * DAY)
    assert state.jump is not None
    assert (state.jump.seconds, state.off) == (10 * DAY, 10 * DAY)
    before = machine.cut(DAY)
    assert before is not None
    assert before <= machine.true - DAY
    machine.after(45)
    state = machine.after(1, -10 * DAY)
    assert state.jump is None
    assert machine.cut(DAY) == machine.true - DAY


def test_a_new_time_that_is_steady_is_trusted_in_the_end() -> None:
    machine = Machine(off=-3650 * DAY)
    machine.after(30)
    assert machine.after(1, 3650 * DAY).jump is not None
    assert machine.after(STEADY).jump is None
    assert machine.cut(DAY) is not None
    machine.after(DAY + STEADY)
    assert machine.cut(DAY) == machine.true - DAY


def test_what_a_clock_that_was_behind_has_stamped_is_as_young_as_it_is() -> None:
    machine = Machine()
    machine.after(STEADY)
    machine.after(1, -10 * DAY)
    stamped = machine.wall
    machine.after(60, 10 * DAY)
    found = machine.cut(DAY)
    assert found is not None
    assert found < stamped


def test_small_steps_add_up() -> None:
    machine = Machine()
    assert machine.after(1, TOLERANCE - 1).jump is None
    assert machine.after(1, TOLERANCE - 1).jump is not None


steps = st.tuples(
    st.floats(0.5, STEADY) | st.floats(STEADY, 3 * DAY) | st.just(1.0),
    st.just(0.0) | st.floats(-20 * DAY, 20 * DAY) | st.floats(-10, 10) | st.just(10 * DAY),
)


@given(st.floats(-20 * DAY, 20 * DAY), st.lists(steps, max_size=100), st.sampled_from([60.0, DAY, 7 * DAY]))
def test_no_stamp_of_this_process_is_old_before_it_is(
    off: float, course: list[tuple[float, float]], age: float
) -> None:
    machine = Machine(off)
    stamped = [(machine.boot, machine.wall)]
    for seconds, jump in course:
        machine.after(seconds, jump)
        stamped.append((machine.boot, machine.wall))
        limit = machine.cut(age)
        young = [stamp for boot, stamp in stamped if machine.boot - boot < age]
        assert limit is None or all(stamp >= limit for stamp in young)
        assert len(machine.state.stretches) <= 32


@given(
    st.lists(
        st.tuples(st.floats(1, 3 * DAY), st.floats(1, STEADY / 2), st.floats(-20 * DAY, 20 * DAY)),
        max_size=40,
    ),
    st.sampled_from([DAY, 7 * DAY]),
)
def test_no_stamp_of_an_earlier_process_is_old_while_the_clock_is_wrong_for_less_than_it_must_be_steady(
    course: list[tuple[float, float, float]], age: float
) -> None:
    machine = Machine()
    machine.after(STEADY)
    for right, seconds, off in course:
        machine.after(right, off)  # at its end, after a sleep for example
        machine.after(seconds)
        limit = machine.cut(age)
        assert limit is None or limit <= machine.true - age
        machine.after(1, -machine.off)
    assert machine.state.jump is None


@given(st.lists(steps, max_size=40))
def test_whatever_happened_in_the_end_what_is_old_is_old_again(course: list[tuple[float, float]]) -> None:
    machine = Machine()
    for seconds, jump in course:
        machine.after(seconds, jump)
    machine.after(1)
    machine.after(DAY + STEADY)
    machine.after(DAY + STEADY)
    limit = machine.cut(DAY)
    assert limit is not None
    assert machine.wall - DAY - 2 * TOLERANCE <= limit <= machine.wall - DAY
    assert machine.state.jump is None
