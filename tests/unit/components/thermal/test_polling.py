from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.polling import PollRate, next_rate
from aiidpd.components.thermal.settings import GpuOverride, GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from tests.believed import USUAL, believed
from tests.tables import made

POLLING = GpuSettings()


def snapshot(*readings: dict[str, float | None], settings: GpuSettings = USUAL) -> CheckedSnapshot:
    gpus = (GpuReading(n, f"GPU-{n}", "card", **figures) for n, figures in enumerate(readings))
    return believed(gpus, settings=settings)


def rates(
    *temperatures: float | None, polling: GpuSettings = POLLING, settings: GpuSettings = USUAL
) -> list[PollRate]:
    rate = PollRate(polling.interval)
    found = []
    for temperature in temperatures:
        rate = next_rate(rate, snapshot({"temperature_celsius": temperature}, settings=settings), polling)
        found.append(rate)
    return found


def test_far_from_any_limit_it_is_once_a_second_and_all_is_read() -> None:
    assert {(rate.interval, rate.fast) for rate in rates(*range(30, 80))} == {(1.0, False)}


def test_near_a_limit_it_is_four_times_a_second_and_one_reading_in_four_is_full() -> None:
    found = rates(*[80.0] * 9)

    assert {rate.interval for rate in found} == {0.25}
    assert [rate.fast for rate in found] == [True, True, True, False] * 2 + [True]


def test_it_slows_down_only_two_degrees_further_away() -> None:
    assert [rate.interval for rate in rates(79.9, 80.0, 78.0, 77.9, 78.5, 79.9)] == [1, 0.25, 0.25, 1, 1, 1]


@pytest.mark.parametrize(
    "figures",
    [
        {"temperature_celsius": 70.0, "slowdown_celsius": 75.0},
        {"temperature_celsius": 70.0, "shutdown_celsius": 74.0},
        {"temperature_celsius": 50.0, "temperature_margin_celsius": 3.0, "slowdown_margin_celsius": -2.0},
        {"memory_temperature_celsius": 101.0, "memory_max_celsius": 105.0},
        {"temperature_celsius": 95.0},
    ],
    ids=["slowdown", "shutdown", "T.Limit", "memory", "above"],
)
def test_any_limit_counts_the_cards_own_and_ours(figures: dict[str, float | None]) -> None:
    cool = {"temperature_celsius": 40.0, "slowdown_celsius": 92.0}

    assert next_rate(PollRate(1.0), snapshot(cool, figures), POLLING).near


@pytest.mark.parametrize(
    ("own", "near"),
    [
        ([GpuOverride(gpu="GPU-1", warning_celsius=60, critical_celsius=70)], True),
        ([GpuOverride(gpu="1", warning_celsius=50, critical_celsius=60)], True),
        ([GpuOverride(gpu="GPU-0", warning_celsius=60, critical_celsius=70)], False),
        ([], False),
    ],
    ids=["UUID", "index", "another GPU's", "none"],
)
def test_a_gpu_is_near_its_own_limit(own: list[GpuOverride], near: bool) -> None:
    settings = made(GpuSettings, overrides=tuple(own))
    seen = snapshot({"temperature_celsius": 40.0}, {"temperature_celsius": 56.0}, settings=settings)

    assert next_rate(PollRate(1.0), seen, POLLING).near == ({"GPU-1"} if near else set())


def test_a_gpu_whose_own_limit_is_higher_is_not_near_the_common_one() -> None:
    override = GpuOverride(gpu="0", warning_celsius=95, critical_celsius=100)
    own = made(GpuSettings, overrides=(override,))

    assert not any(rate.near for rate in rates(82.0, 89.0, settings=own))
    assert rates(90.0, settings=own)[0].near


def test_an_offset_is_no_ceiling() -> None:
    """A slowdown at a margin of -2 is not a slowdown at -2 °C, nor 2 °C away."""
    figures = {
        "temperature_celsius": 50.0,
        "temperature_margin_celsius": 30.0,
        "slowdown_margin_celsius": -2.0,
    }

    assert not next_rate(PollRate(1.0), snapshot(figures), POLLING).near


def test_a_temperature_that_is_not_known_changes_nothing() -> None:
    assert [bool(rate.near) for rate in rates(None, 84.0, None, 40.0, None)] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_an_interval_that_is_shorter_than_the_fast_one_is_left_alone() -> None:
    found = rates(84.0, 84.0, polling=made(GpuSettings, interval=0.2))

    assert [(rate.interval, rate.fast) for rate in found] == [(0.2, False)] * 2


@given(st.lists(st.floats(20, 120), max_size=40), st.floats(0.1, 10))
def test_a_full_reading_is_never_further_away_than_the_interval(
    temperatures: list[float], interval: float
) -> None:
    polling = made(GpuSettings, interval=interval)
    since_full = 0.0
    for rate in rates(*temperatures, polling=polling):
        since_full = since_full + rate.interval if rate.fast else 0.0
        assert since_full < interval
