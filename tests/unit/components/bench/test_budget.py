"""Share of the time of GPUs that measurements by schedule take."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.budget import Budget, charged

RATIO = 0.005
GPUS = ("a", "b", "c")

ATTEMPT = st.tuples(
    st.floats(0, 5000), st.floats(0, 120), st.lists(st.sampled_from(GPUS), unique=True, max_size=3)
)


@given(st.lists(ATTEMPT, max_size=60))
def test_whatever_is_due_the_share_of_each_gpu_is_kept(attempts: list[tuple[float, float, list[str]]]):
    """Whenever it may, a measurement is made, and takes however long it does."""
    budget, now = Budget(), 0.0
    made: dict[str, list[tuple[float, float]]] = {each: [] for each in (*GPUS, "")}
    for wait, seconds, places in attempts:
        now += wait
        if budget.ready_at(places) <= now:
            for place in places or [""]:
                made[place].append((now, seconds))
            budget = charged(budget, places, now, seconds, RATIO)
            now += seconds
    for taken in made.values():
        for (first, (begun, _)), (last, (ended, _)) in itertools.combinations(enumerate(taken), 2):
            spent = sum(seconds for _, seconds in taken[first:last])
            assert spent <= RATIO * (ended - begun) + 1e-6  # what sums of such seconds lose to rounding


@given(st.floats(0.1, 60), st.floats(1, 10_000))
def test_one_that_fits_its_interval_is_never_postponed(seconds: float, interval: float):
    budget = charged(Budget(), ("a",), 0.0, seconds, RATIO)
    assert (budget.ready_at(("a",)) <= interval) == (
        seconds <= RATIO * interval or seconds / RATIO <= interval
    )


def test_other_gpus_do_not_wait_and_those_that_are_not_known_share_one_budget():
    budget = charged(Budget(), ("a",), 0.0, 10.0, RATIO)
    assert budget.ready_at(("b",)) == 0.0
    assert budget.ready_at(("b", "a")) == 2000.0
    budget = charged(budget, (), 5.0, 1.0, RATIO)
    assert budget.ready_at(()) == 205.0
    assert budget.ready_at(("b",)) == 0.0
    assert charged(budget, ("a",), 100.0, 1.0, RATIO).ready_at(("a",)) == 2000.0  # nothing shortens a pause
