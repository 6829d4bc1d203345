"""Draws of chance that a seed decides."""

from __future__ import annotations

import math
from statistics import fmean

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.draws import Draws

SEEDS = st.integers(-(2**40), 2**40)
NAMES = st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=3)


@given(SEEDS, NAMES, st.floats(0.001, 1e6))
def test_a_draw_is_within_its_bounds_and_the_same_again(seed: int, names: list[object], mean: float):
    draws = Draws(seed)
    unit = draws.unit(*names)
    assert 0 < unit < 1
    assert draws.unit(*names) == Draws(seed).unit(*names) == unit
    assert 2 <= draws.between(2, 3, *names) <= 3
    assert 0 < draws.exponential(mean, *names) < math.inf


@given(SEEDS)
def test_times_between_arrivals_have_their_mean(seed: int):
    draws = Draws(seed)
    assert 0.8 < fmean(draws.exponential(1.0, number) for number in range(1000)) < 1.25


@given(SEEDS)
def test_choices_come_as_often_as_their_weights_say(seed: int):
    draws = Draws(seed)
    found = [draws.weighted([("a", 3.0), ("b", 1.0)], number) for number in range(1000)]
    assert 0.65 < found.count("a") / 1000 < 0.85


@given(SEEDS, NAMES)
def test_a_choice_without_weight_never_comes(seed: int, names: list[object]):
    assert Draws(seed).weighted([("a", 0.0), ("b", 1.0)], *names) == "b"
