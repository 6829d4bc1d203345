"""Size and onset of a shift, beside two other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import ruptures

from aiidpd.components.bench.regression.baseline import Baseline, estimate
from aiidpd.components.bench.regression.shift import find_shift
from tests.unit.components.bench.regression.otava import FACTORS, FILE, SEEDS
from tests.unit.components.bench.regression.series import AFTER, BEFORE, shifted

TOLERANCE = 2  # samples
KEPT = 96


def onset(values: Sequence[float]) -> int:
    """Return the place of the onset by ours, which knows the baseline and the newest samples."""
    baseline = estimate([math.log(each) for each in values[:BEFORE]])
    places = [float(each) for each in range(len(values))]
    found = find_shift(places[-KEPT:], [math.log(each) for each in values[-KEPT:]], 1, baseline)
    return int(found.onset)


def by_ruptures(values: Sequence[float]) -> int:
    """Return the onset of the best single step, by exhaustive search."""
    logarithms = np.log(np.array(values[-KEPT:])).reshape(-1, 1)
    (first, _) = ruptures.Dynp(model="l2", min_size=3, jump=1).fit(logarithms).predict(n_bkps=1)
    return len(values) - KEPT + int(first)


@pytest.mark.parametrize("noise", ["iid", "ar1", "t5"])
def test_onsets_are_those_of_ruptures(noise: str):
    series = [shifted(noise, seed, factor) for factor in FACTORS for seed in SEEDS]
    apart = [abs(onset(each) - by_ruptures(each)) for each in series]
    assert sum(each <= TOLERANCE for each in apart) >= 0.9 * len(series)


@pytest.mark.parametrize("noise", ["iid", "ar1", "t5"])
def test_onsets_are_those_of_otava(noise: str):
    answers = [each for each in json.loads(FILE.read_text())["found"] if each["noise"] == noise]
    assert len(answers) == len(FACTORS) * len(SEEDS)
    apart = [
        min(abs(onset(shifted(noise, each["seed"], each["factor"])) - one) for one in each["onsets"])
        for each in answers
        if each["onsets"]
    ]
    assert len(apart) >= 0.7 * len(answers)  # it misses some, with twelve samples after the shift
    assert sum(each <= TOLERANCE for each in apart) >= 0.9 * len(apart)


@pytest.mark.parametrize("noise", ["iid", "ar1", "t5"])
def test_the_interval_has_the_true_size_nineteen_times_in_twenty(noise: str):
    inside = 0
    for seed in range(200):
        values = [math.log(each) for each in shifted(noise, seed, 0.93)]
        baseline = estimate(values[:BEFORE])
        found = find_shift([float(each) for each in range(KEPT)], values[-KEPT:], 1, baseline)
        inside += found.ratio_low <= 0.93 <= found.ratio_high
    assert inside >= 200 * 0.88  # the choice of the onset takes a little of it


def test_a_halved_speed_is_called_that_although_samples_are_clipped():
    values = [math.log(each) for each in shifted("iid", 1, 0.5)]
    found = find_shift([float(each) for each in range(KEPT)], values[-KEPT:], 1, estimate(values[:BEFORE]))
    assert found.ratio == pytest.approx(0.5, rel=0.02)
    assert found.onset == KEPT - AFTER
    assert (found.onset_from, found.onset_to) == (found.onset, found.onset)


def test_three_samples_are_enough_to_describe():
    found = find_shift([1.0, 2.0, 3.0], [math.log(70)] * 3, 1, Baseline(math.log(80), 0.02, 0.3, 200))
    assert found.onset == 1.0
    assert found.ratio == pytest.approx(0.875)
