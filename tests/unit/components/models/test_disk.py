"""The day on which a disk is full: what the trend says of days of samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.models.disk import DAY_SECONDS, FEWEST_DAYS, MOST_DAYS, trend, with_sample
from aiidpd.components.models.record import SpaceSample

TIB = 2**40
GIB = 2**30
START = 20_000 * DAY_SECONDS


def series(*free: int, total: int = TIB) -> tuple[SpaceSample, ...]:
    samples: tuple[SpaceSample, ...] = ()
    for day, each in enumerate(free):
        samples = with_sample(samples, START + day * DAY_SECONDS, each, total)
    return samples


def test_a_steady_fall_gives_the_day() -> None:
    samples = series(*(500 * GIB - day * 10 * GIB for day in range(10)))
    now = START + 9 * DAY_SECONDS
    found = trend(samples, now)
    assert found.growth_bytes_per_day == 10 * GIB
    assert found.full_at == now + 41 * DAY_SECONDS
    assert found.reason == ""


def test_one_big_download_or_deletion_is_no_trend() -> None:
    steady = [500 * GIB] * 10
    steady[5:] = [200 * GIB] * 5
    assert trend(series(*steady), START).full_at is None
    falling = [500 * GIB - day * 10 * GIB + (30 * GIB if day >= 6 else 0) for day in range(12)]
    found = trend(series(*falling), START).growth_bytes_per_day
    assert found is not None
    assert 3 * GIB < found <= 10 * GIB


def test_few_days_say_nothing() -> None:
    for days in range(FEWEST_DAYS):
        found = trend(series(*(100 * GIB - day * GIB for day in range(days))), START)
        assert (found.full_at, found.growth_bytes_per_day) == (None, None)
        assert "not known" in found.reason


def test_a_day_has_one_sample_and_another_size_begins_anew() -> None:
    once = with_sample((), START, 10, 100)
    assert with_sample(once, START + 3600, 5, 100) == (SpaceSample(20_000, 5, 100),)
    assert with_sample(once, START + DAY_SECONDS, 5, 200) == (SpaceSample(20_001, 5, 200),)
    assert with_sample(once, START - 5 * DAY_SECONDS, 5, 100) == (SpaceSample(19_995, 5, 100),)
    assert len(series(*range(1, 200))) == MOST_DAYS


@given(
    st.lists(st.integers(0, TIB), min_size=1, max_size=80),
    st.lists(st.integers(-40, 40), min_size=80, max_size=80),
)
def test_whatever_the_samples_it_is_bounded_and_says_why(free: list[int], steps: list[int]) -> None:
    samples: tuple[SpaceSample, ...] = ()
    now = START
    for each, step in zip(free, steps, strict=False):
        now += step * DAY_SECONDS
        samples = with_sample(samples, now, each, TIB)
        assert [s.day for s in samples] == sorted({s.day for s in samples})
    found = trend(samples, now)
    assert (found.full_at is None) == bool(found.reason)
    assert found.full_at is None or found.full_at >= now


@given(st.integers(1, 100), st.lists(st.floats(-3, 3), min_size=30, max_size=30), st.integers(0, 29))
def test_noise_and_one_outlier_move_the_day_little(rate: int, noise: list[float], outlier: int) -> None:
    free = [int(10 * TIB - (day * rate + off) * GIB) for day, off in enumerate(noise)]
    free[outlier] = 0 if outlier < 29 else free[outlier]
    found = trend(series(*free, total=11 * TIB), START).growth_bytes_per_day
    assert found is not None
    assert abs(found / GIB - rate) < 1.0
