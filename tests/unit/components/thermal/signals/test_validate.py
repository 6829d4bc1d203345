"""Validation of readings: temperatures that are believed, and the seconds that each covers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.faults import IMPLAUSIBLE, GpuFault
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot, Limit
from aiidpd.components.thermal.settings import GpuOverride, GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu, Trust
from aiidpd.components.thermal.signals.thresholds import GpuLimits
from aiidpd.components.thermal.signals.validate import Sensors, SnapshotValidator, validate
from tests.tables import made
from tests.unit.components.thermal.alerts.evaluating import COOL, UUID

SETTINGS = GpuSettings()
REFUSED = GpuFault(0, "temperature_celsius of 4294967295", None, IMPLAUSIBLE)


def course(
    *temperatures: float | None, period: float = 1.0, settings: GpuSettings = SETTINGS, **figures: float
) -> list[CheckedGpu]:
    """Return each reading of one GPU validated; 2^32 is a temperature that was refused."""
    sensors, found = Sensors(), []
    for number, temperature in enumerate(temperatures):
        refused = temperature == 2.0**32
        reading = replace(COOL, temperature_celsius=None if refused else temperature, **figures)
        faults = (REFUSED,) if refused else ()
        snapshot = GpuSnapshot((reading,), "580", simulated=False, faults=faults)
        now = number * period
        sensors, checked = validate(sensors, snapshot, 1e9 + now, now, settings)
        found += checked.gpus
    return found


@pytest.mark.parametrize(
    ("value", "trust"),
    [
        (61.0, Trust.BELIEVED),
        (None, Trust.UNKNOWN),
        (2.0**32, Trust.REFUSED),
        (0.0, Trust.DOUBTED),
        (111.0, Trust.DOUBTED),  # the card turns itself off at 100
        (95.0, Trust.DOUBTED),  # 35 degrees in a second
        (20.0, Trust.DOUBTED),
    ],
)
def test_a_temperature_is_believed_or_has_a_reason_why_not(value: float | None, trust: Trust) -> None:
    gpu = course(60.0, value)[-1]
    assert gpu.trust is trust
    assert gpu.temperature == (value if trust is Trust.BELIEVED else None)
    assert gpu.distrusted is (trust in (Trust.REFUSED, Trust.DOUBTED))


def test_a_sensor_that_is_not_believed_is_not_believed_about_any_limit_but_the_memorys() -> None:
    margins = {"temperature_margin_celsius": 20.0, "slowdown_margin_celsius": -2.0, "gpu_max_celsius": 90.0}
    memory = {"memory_temperature_celsius": 90.0, "memory_max_celsius": 105.0}
    good, bad, silent = course(60.0, 99.0, None, **margins, **memory)

    assert [good.degrees_left(limit) for limit in Limit] == [30.0, 22.0, 40.0, 15.0]
    assert [bad.degrees_left(limit) for limit in Limit] == [None, None, None, 15.0]
    assert [silent.degrees_left(limit) for limit in Limit] == [None, 22.0, None, 15.0]


def test_a_figure_is_that_of_the_reading_but_for_a_temperature_that_is_not_believed() -> None:
    good, bad = course(60.0, 99.0)
    assert (good.figure("temperature_celsius"), bad.figure("temperature_celsius")) == (60.0, None)
    assert (good.figure("power_watts"), bad.figure("power_watts")) == (200.0, 200.0)
    assert bad.reading.temperature_celsius == 99.0


def test_a_reading_covers_the_time_since_the_one_before_unless_that_is_long_ago() -> None:
    assert [gpu.seconds for gpu in course(60.0, 60.0, 60.0, period=2.5)] == [0.0, 2.5, 2.5]
    assert [gpu.seconds for gpu in course(60.0, 60.0, period=10.5)] == [0.0, 0.0]


def test_each_gpu_has_its_own_sensor_and_its_own_limits() -> None:
    own = GpuOverride(gpu="GPU-b", warning_celsius=60, critical_celsius=70)
    settings = made(GpuSettings, overrides=(own,))
    other = replace(COOL, index=1, uuid="GPU-b")
    sensors, _ = validate(Sensors(), GpuSnapshot((COOL, other), "580", simulated=False), 0, 0, settings)
    wild = replace(COOL, temperature_celsius=99.0)
    _, checked = validate(sensors, GpuSnapshot((wild, other), "580", simulated=False), 1, 1, settings)

    assert [gpu.trust for gpu in checked.gpus] == [Trust.DOUBTED, Trust.BELIEVED]
    assert [gpu.limits for gpu in checked.gpus] == [
        GpuLimits(),
        GpuLimits(warning_celsius=60.0, critical_celsius=70.0),
    ]


def test_a_gpu_that_was_not_read_for_a_moment_goes_on_with_its_sensor() -> None:
    sensors, _ = validate(Sensors(), GpuSnapshot((COOL,), "580", simulated=False), 0, 0, SETTINGS)
    sensors, empty = validate(sensors, GpuSnapshot((), "580", simulated=False), 1, 1, SETTINGS)
    hot = replace(COOL, temperature_celsius=99.0)
    _, checked = validate(sensors, GpuSnapshot((hot,), "580", simulated=False), 2, 2, SETTINGS)

    assert empty.gpus == ()
    assert (checked.gpus[0].trust, checked.gpus[0].seconds) == (Trust.DOUBTED, 2.0)


def test_real_gpus_after_made_up_ones_begin_anew() -> None:
    validator = SnapshotValidator()
    validator.check(GpuSnapshot((COOL,), "SIMULATED", simulated=True), 0, 0, SETTINGS)
    hot = replace(COOL, temperature_celsius=99.0)
    (gpu,) = validator.check(GpuSnapshot((hot,), "580", simulated=False), 1, 1, SETTINGS).gpus
    assert (gpu.trust, gpu.seconds) == (Trust.BELIEVED, 0.0)


def test_a_frozen_value_is_not_believed_until_it_moves() -> None:
    sensors, trusts = Sensors(), []
    for second in range(300):
        watts = 280.0 if second // 60 % 2 else 40.0
        frozen = replace(COOL, temperature_celsius=70.0 if second < 299 else 71.0, power_watts=watts)
        sensors, checked = validate(
            sensors, GpuSnapshot((frozen,), "580", simulated=False), second, second, SETTINGS
        )
        trusts.append(checked.gpus[0].trust)

    begins = trusts.index(Trust.FROZEN)
    assert 120 <= begins <= 150
    assert set(trusts[:begins]) == {Trust.BELIEVED}
    assert set(trusts[begins:-1]) == {Trust.FROZEN}
    assert trusts[-1] is Trust.BELIEVED


values = st.one_of(
    st.none(), st.floats(-300, 300), st.integers(30, 100).map(float), st.sampled_from([0.0, 2.0**32])
)


@given(st.lists(values, max_size=40), st.sampled_from([0.25, 1.0, 11.0]))
def test_whatever_a_sensor_gives_it_is_believed_whole_or_not_at_all(
    temperatures: list[float | None], period: float
) -> None:
    for value, gpu in zip(temperatures, course(*temperatures, period=period), strict=True):
        assert (gpu.temperature is not None) == (gpu.trust is Trust.BELIEVED)
        assert gpu.temperature in (None, value)
        assert (gpu.trust is Trust.UNKNOWN) == (value is None)
        if gpu.temperature is not None:
            assert 0 < gpu.temperature <= 110
        assert gpu.seconds in (0.0, period)
        assert gpu.implausible_count >= float(gpu.trust in (Trust.REFUSED, Trust.DOUBTED))


@given(st.lists(st.integers(40, 60).map(float), min_size=1, max_size=30), st.data())
def test_one_wild_reading_changes_what_is_believed_of_no_other(
    temperatures: list[float], data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(temperatures)))
    wild = data.draw(st.sampled_from([0.0, -5.0, 2.0**32, 150.0, 99.0, 5.0, None]))
    found = course(*temperatures[:place], wild, *temperatures[place:])
    assert found[place].temperature is None
    others = [*found[:place], *found[place + 1 :]]
    assert [gpu.temperature for gpu in others] == temperatures


def test_a_card_without_a_name_for_its_limits_is_validated_all_the_same() -> None:
    bare = GpuReading(0, UUID, "card", temperature_celsius=60.0)
    _, checked = validate(Sensors(), GpuSnapshot((bare,), "580", simulated=False), 0, 0, SETTINGS)
    assert checked.gpus[0].temperature == 60.0
