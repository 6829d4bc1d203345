"""Memory that only grows: found with its date, and nothing else is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.usage.growth import (
    BUCKET_SECONDS,
    FEWEST_BUCKETS,
    MOST_BUCKETS,
    Exhaustion,
    Trend,
    begin,
    exhaustion,
    step,
    warned,
)
from tests.forms import examples

MIB = 1 << 20
GIB = 1 << 30
HOUR = 3600.0
DAY = 86400.0
STEP = 60.0


def watch(
    memory: Callable[[float], float],
    hours: float,
    *,
    limit: int | None = 64 * GIB,
    host: int | None = None,
    horizon: float = DAY,
) -> tuple[float | None, Exhaustion | None]:
    """Return when a warning began, if it did, and that of the end."""
    trend, first, found = begin(0.0, 0.0, 0.0), None, None
    now = 0.0
    while now < hours * HOUR:
        used = int(memory(now))
        trend = step(trend, used, now)
        found = exhaustion(trend, used, limit_bytes=limit, host_left_bytes=host, horizon_seconds=horizon)
        trend = warned(trend, found)
        if found is not None and first is None:
            first = now
        now += STEP
    return first, found


def test_a_leak_is_found_in_hours_with_its_date() -> None:
    first, found = watch(lambda at: 20 * GIB + 2 * GIB * at / HOUR, 8)
    assert first is not None
    assert first <= 5.5 * HOUR
    assert found is not None
    assert found.bound == "its limit"
    assert found.seconds == pytest.approx((44 / 2 - 8) * HOUR, rel=0.02)
    assert found.bytes_per_hour == pytest.approx(2 * GIB, rel=0.02)


def test_the_host_s_memory_bounds_where_there_is_no_limit_or_less_is_left() -> None:
    _, found = watch(lambda at: 20 * GIB + GIB * at / HOUR, 8, limit=None, host=3 * GIB)
    assert found is not None
    assert (found.bound, found.left_bytes) == ("the host's memory", 3 * GIB)
    assert watch(lambda at: 20 * GIB + GIB * at / HOUR, 8, limit=None)[0] is None


def noise(seed: int, level: float) -> Callable[[float], float]:
    source = random.Random(seed)
    return lambda _: level + source.uniform(-0.02, 0.02) * level


@pytest.mark.parametrize(
    "memory",
    [
        noise(1, 20 * GIB),
        lambda _: 20 * GIB,
        lambda at: min(60 * GIB, 60 * GIB * at / 1200),  # loads in 20 minutes
        lambda at: 40 * GIB * (1 - math.exp(-at / (0.5 * HOUR))),  # warms up in some hours
        lambda at: 20 * GIB + (at % (2 * HOUR)) / HOUR * 10 * GIB,  # a sawtooth
        lambda at: 20 * GIB + (at % (0.2 * HOUR)) / HOUR * 100 * GIB,
        lambda at: 30 * GIB - GIB * at / HOUR,
        lambda at: 20 * GIB + GIB * math.sin(at / HOUR),
        lambda at: 20 * GIB + 4 * GIB * (at > 6 * HOUR),  # one more model, once
        lambda at: 20 * GIB + 0.01 * GIB * at / HOUR,  # leaks, and lasts for months
    ],
)
def test_no_alarm(memory: Callable[[float], float]) -> None:
    assert watch(memory, 30)[0] is None


def test_a_leak_in_noise_is_found() -> None:
    source = random.Random(3)
    first, _ = watch(lambda at: 20 * GIB + 2 * GIB * at / HOUR + source.uniform(0, GIB), 10)
    assert first is not None


def test_a_warning_ends_when_it_grows_no_more_and_does_not_flap_at_the_horizon() -> None:
    first, found = watch(lambda at: 20 * GIB + 2 * GIB * min(at, 8 * HOUR) / HOUR, 20)
    assert first is not None
    assert found is None
    trend = Trend(0.0, 0.0, slope=1.0)
    args = {"limit_bytes": 110_000, "host_left_bytes": None, "horizon_seconds": 100_000.0}
    assert exhaustion(trend, 0, **args) is None
    assert exhaustion(warned(trend, Exhaustion(1, 1, 1, 1, "")), 0, **args) is not None


def test_horizon_0_is_never() -> None:
    assert watch(lambda at: 20 * GIB + 2 * GIB * at / HOUR, 12, horizon=0.0)[0] is None


@examples(50)
@given(st.lists(st.integers(0, 2**40), max_size=300), st.floats(0.1, 4))
def test_it_is_bounded_and_says_nothing_too_early(used: list[int], spacing: float) -> None:
    trend = begin(None, 0.0, 1e6)
    for number, each in enumerate(used):
        now = number * spacing * BUCKET_SECONDS
        trend = step(trend, each, now)
        found = exhaustion(trend, each, limit_bytes=2**40, host_left_bytes=0, horizon_seconds=DAY)
        assert len(trend.floors) <= MOST_BUCKETS
        if found is not None:
            assert len(trend.floors) >= FEWEST_BUCKETS
            assert found.seconds >= 0
