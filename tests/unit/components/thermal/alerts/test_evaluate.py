"""When the alerts of the thermal worker fire, and when they don't."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.alerts.state import Change
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.alerts.throttling import growth
from aiidpd.components.thermal.faults import IMPLAUSIBLE, GpuFault
from aiidpd.components.thermal.settings import AlertSettings, GpuOverride, GpuSettings
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.errors import Unavailable
from tests.tables import made
from tests.unit.components.thermal.alerts.evaluating import COOL, UUID, Bench

LOST = GpuFault(0, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST")
HANGS = Unavailable("read", "GPUs", reason="NVML did not answer within 2 s")


def test_a_cool_gpu_is_quiet():
    bench = Bench()
    bench.run(4000)
    assert bench.transitions == []
    assert len(bench.alerts) > 8


@pytest.mark.parametrize(
    ("figures", "alert", "seconds"),
    [
        ({"temperature_celsius": 85.0}, rules.TEMPERATURE_WARNING, 10),
        ({"temperature_celsius": 90.0}, rules.TEMPERATURE_CRITICAL, 3),
        ({"temperature_celsius": 84.0, "slowdown_celsius": 89.0}, rules.NEAR_SLOWDOWN, 3),
        ({"memory_temperature_celsius": 100.0}, rules.MEMORY_TEMPERATURE, 10),
        ({"memory_temperature_celsius": 91.0, "memory_max_celsius": 95.0}, rules.MEMORY_TEMPERATURE, 10),
    ],
)
def test_a_limit_fires_after_its_dwell_and_no_sooner(figures: dict[str, float], alert: str, seconds: float):
    bench = Bench()
    bench.run(5)
    bench.run(seconds, **figures)
    assert alert not in bench.firing
    bench.run(1, **figures)
    assert bench.firing == {alert}
    bench.run(1, memory_temperature_celsius=80.0)
    assert bench.firing == set()
    assert bench.changes(alert) == [Change.PENDING, Change.FIRING, Change.RESOLVED]


def test_one_degree_less_is_not_enough():
    bench = Bench()
    bench.run(100, temperature_celsius=84.9, memory_temperature_celsius=99.9)
    assert bench.transitions == []


def test_a_margin_of_the_cards_own_is_never_taken_for_a_temperature():
    bench = Bench()
    figures = {"slowdown_celsius": None, "temperature_margin_celsius": 20.0, "slowdown_margin_celsius": -2.0}
    bench.run(10, **figures)
    assert bench.transitions == []
    bench.run(10, **(figures | {"temperature_margin_celsius": 3.0}))
    assert bench.firing == {rules.NEAR_SLOWDOWN}
    assert (
        bench.reason(rules.NEAR_SLOWDOWN) == "GPU 0 (card) is 5 °C below the point where it slows itself down"
    )


def test_the_limits_of_one_gpu_can_be_its_own():
    overrides = (GpuOverride(gpu="0", warning_celsius=60), GpuOverride(gpu="GPU-b", warning_celsius=70))
    bench = Bench(made(GpuSettings, overrides=overrides))
    second = replace(COOL, index=1, uuid="GPU-bb", temperature_celsius=71.0)
    third = replace(COOL, index=2, uuid="GPU-c", temperature_celsius=71.0)
    for _ in range(12):
        bench.see(COOL, second, third)
    fired = {
        subject for _, each in bench.transitions if each.change is Change.FIRING for subject in [each.subject]
    }
    assert fired == {UUID, "GPU-bb"}


def test_hot_too_long_counts_the_seconds_of_an_hour():
    bench = Bench()
    bench.run(100)
    for _ in range(7):
        bench.run(100, temperature_celsius=86.0)
        bench.run(100)
    assert bench.fired_at(rules.HOT_TOO_LONG) == pytest.approx(1200, abs=2)
    assert "was at 85 °C or hotter for 600 s of the last 3600 s" in bench.reason(rules.HOT_TOO_LONG)
    bench.run(3600)
    assert rules.HOT_TOO_LONG not in bench.firing


# Counters


@pytest.mark.parametrize(
    ("before", "value", "elapsed", "expected"),
    [
        (None, 500.0, 1.0, 0.0),
        (10.0, 10.5, 1.0, 0.5),
        (10.0, 10.0, 1.0, 0.0),
        (10.0, 0.25, 1.0, 0.25),  # the driver was loaded anew
        (10.0, 1e19, 1.0, 1.0),
        (10.0, 5.0, 2.0, 2.0),
    ],
)
def test_a_counter_grows_by_no_more_than_the_time(
    before: float | None, value: float, elapsed: float, expected: float
):
    assert growth(before, value, elapsed) == expected


@given(st.lists(st.floats(0, 1e12), max_size=20), st.floats(0.1, 10))
def test_whatever_a_counter_says_its_growth_can_be(values: list[float], elapsed: float):
    assert all(0 <= growth(before, value, elapsed) <= elapsed for before, value in itertools.pairwise(values))


@pytest.mark.parametrize(
    ("counter", "alert", "limit"),
    [
        ("hw_thermal_throttle_seconds", rules.HARDWARE_THROTTLING, 5),
        ("sw_thermal_throttle_seconds", rules.SOFTWARE_THROTTLING, 60),
        ("hw_power_brake_throttle_seconds", rules.POWER_BRAKE, 1),
    ],
)
def test_throttling_is_counted_by_the_cards_counter(counter: str, alert: str, limit: int):
    bench = Bench()
    bench.run(20, **{counter: 1000.0})  # what was before us is not ours
    for second in range(limit - 1):
        bench.run(1, **{counter: 1001.0 + second})
    bench.run(5, **{counter: 1000.0 + limit - 1})
    assert alert not in bench.firing
    bench.run(1, **{counter: 1000.0 + limit})
    assert bench.firing == {alert}
    bench.run(5, **{counter: 0.0})  # a new driver
    assert bench.firing == {alert}
    bench.run(610, **{counter: 0.0})
    assert bench.changes(alert) == [Change.FIRING, Change.RESOLVED]


def test_a_card_without_counters_goes_by_its_clock_events():
    bench = Bench()
    bench.run(5, clock_events=())
    bench.run(5, clock_events=("hw_slowdown", "hw_thermal_slowdown"))
    assert bench.firing == {rules.HARDWARE_THROTTLING}


# Xid


@pytest.mark.parametrize(
    ("code", "alert"),
    [
        (31, rules.XID_APPLICATION),
        (119, rules.XID_DRIVER),
        (79, rules.XID_HARDWARE),
        (9999, rules.XID_UNKNOWN),
    ],
)
def test_an_xid_fires_at_once_and_for_an_hour(code: int, alert: str):
    bench = Bench(period=5.0)
    bench.see(replace(COOL, xids=()))
    bench.see(COOL, xids=[XidEvent(UUID, code)])
    assert bench.firing == {alert}
    assert f"GPU 0 (card) reported Xid {code}" in bench.reason(alert)
    bench.run(3500)
    assert bench.firing == {alert}
    bench.run(200)
    assert bench.changes(alert) == [Change.FIRING, Change.RESOLVED]


def test_the_xid_of_a_gpu_that_is_gone_fires_all_the_same():
    bench = Bench()
    bench.see(COOL)
    gone = Unavailable("read", "GPU 0", reason=str(LOST))
    bench.miss(gone, XidEvent(UUID, 79))
    assert bench.firing == {rules.LOST, rules.XID_HARDWARE}


# Faulty sensors


@pytest.mark.parametrize("value", [0.0, -5.0, 126.0, 4294967295.0, 111.0])
def test_an_impossible_temperature_raises_its_own_alert_and_no_other(value: float):
    bench = Bench()
    bench.run(30)
    bench.run(30, temperature_celsius=value)
    assert bench.firing == {rules.IMPLAUSIBLE}
    while rules.IMPLAUSIBLE in bench.firing:
        ((_, alert),) = [
            (name, alert) for (name, _), alert in bench.alerts.items() if name == rules.IMPLAUSIBLE
        ]
        said = bench.rules[rules.IMPLAUSIBLE].summarize(alert.evidence)
        assert "gave 0 impossible" not in said
        assert bench.now < 200
        bench.run(1)
    assert bench.reason(rules.IMPLAUSIBLE).endswith("GPU 0 (card) gave no impossible temperature in 60 s")
    assert bench.firing == set()
    assert bench.changes(rules.TEMPERATURE_CRITICAL) == []


def test_what_was_refused_where_it_was_read_counts_as_implausible():
    bench = Bench()
    fault = GpuFault(0, "temperature_celsius of 4294967295", None, IMPLAUSIBLE)
    bench.run(5)
    for _ in range(5):
        bench.see(replace(COOL, temperature_celsius=None), faults=[fault])
    assert bench.firing == {rules.IMPLAUSIBLE}


def test_single_glitches_are_not_believed_and_fire_nothing():
    bench = Bench()
    for _ in range(20):
        bench.run(50)
        bench.run(1, temperature_celsius=97.0)
    assert bench.transitions == []


@pytest.mark.parametrize("period", [0.25, 1.0])
@pytest.mark.parametrize(
    ("watts", "believed_after"), [(200.0, 2.0), (15.0, 10.0), (None, 10.0)], ids=["load", "idle", "unknown"]
)
def test_a_jump_that_lasts_is_believed_sooner_where_the_gpu_burns_enough_for_it(
    period: float, watts: float | None, believed_after: float
):
    bench = Bench(period=period)
    bench.run(30, temperature_celsius=45.0, power_watts=watts)
    jumped = bench.now
    bench.run(20, temperature_celsius=93.0, power_watts=watts)
    dwell = bench.rules[rules.TEMPERATURE_CRITICAL].dwell
    assert bench.fired_at(rules.TEMPERATURE_CRITICAL) - jumped == believed_after + dwell


@pytest.mark.parametrize("period", [0.25, 1.0])
@pytest.mark.parametrize("rate", [0.0, 2.0, 5.0, 9.0])
def test_a_core_without_cooling_fires_before_it_turns_itself_off(period: float, rate: float):
    """Three readings were missed while the pump stopped; it then goes on to heat."""
    bench = Bench(period=period)
    bench.run(10, temperature_celsius=45.0)
    bench.now += 3.0
    jumped = bench.now
    while bench.now < jumped + 7:
        bench.run(period, temperature_celsius=float(round(min(80 + rate * (bench.now - jumped), 109))))
    believed = bench.sensors.gpus[UUID].believed
    assert believed is not None
    assert believed >= 80.0
    if rate >= 5.0:
        assert bench.fired_at(rules.TEMPERATURE_CRITICAL) - jumped <= 6


@pytest.mark.parametrize("period", [0.25, 1.0])
@pytest.mark.parametrize(
    "values",
    [
        [92.0, 99.0],  # goes up and down by more than heat does
        [99.0, 99.0, 60.0],  # comes and goes
        [99.0, 255.0],
        [92.0, 0.0],
    ],
)
def test_a_sensor_that_does_not_agree_with_itself_is_not_believed_under_load(
    period: float, values: list[float]
):
    bench = Bench(period=period)
    bench.run(5)
    for value in values * 12:
        bench.run(period, temperature_celsius=value)
        if bench.now >= 14:
            break
    assert bench.changes(rules.TEMPERATURE_CRITICAL) == []
    assert bench.sensors.gpus[UUID].believed == 60.0


def test_a_jump_downwards_does_not_call_off_an_alarm_before_it_lasted():
    bench = Bench()
    bench.run(20, temperature_celsius=93.0)
    bench.run(10, temperature_celsius=50.0)
    assert rules.TEMPERATURE_CRITICAL in bench.firing
    bench.run(1, temperature_celsius=50.0)
    assert rules.TEMPERATURE_CRITICAL not in bench.firing


@given(
    st.floats(35, 60),
    st.floats(91, 105),
    st.sampled_from([0.25, 0.5, 1.0]),
    st.lists(st.floats(-1.5, 1.5), min_size=40, max_size=40),
)
def test_whatever_the_noise_a_hot_core_under_load_fires_in_time(
    cool: float, hot: float, period: float, noise: list[float]
):
    bench = Bench(period=period)
    bench.run(5, temperature_celsius=cool)
    jumped = bench.now
    for each in noise:
        bench.run(period, temperature_celsius=round(hot + 1.6 + each, 1))
    assert bench.fired_at(rules.TEMPERATURE_CRITICAL) - jumped <= 6


@given(st.lists(st.sampled_from([60.0, 61.0, 0.0, 255.0, 1e9, 99.0, -1.0]), min_size=5, max_size=80))
def test_a_sensor_that_jumps_about_never_raises_the_critical_alert(values: list[float]):
    bench = Bench()
    bench.run(5)
    for value in values:
        bench.run(1, temperature_celsius=value)
        bench.run(1, temperature_celsius=60.0)
    assert bench.changes(rules.TEMPERATURE_CRITICAL) == []


def test_a_frozen_temperature_is_found_while_the_power_changes():
    bench = Bench()
    bench.run(60, power_watts=280.0)
    for _ in range(3):
        bench.run(60, power_watts=40.0)
        bench.run(60, power_watts=280.0)
    assert bench.firing == {rules.SENSOR_FROZEN}
    assert bench.fired_at(rules.SENSOR_FROZEN) == pytest.approx(120, abs=20)
    bench.run(5, temperature_celsius=61.0)
    assert bench.firing == set()


def test_a_frozen_temperature_neither_calms_nor_alarms():
    bench = Bench()
    bench.run(20, temperature_celsius=89.0)
    assert rules.TEMPERATURE_WARNING in bench.firing
    for _ in range(2):
        bench.run(60, temperature_celsius=89.0, power_watts=40.0)
        bench.run(60, temperature_celsius=89.0, power_watts=280.0)
    observed = bench.alerts[rules.TEMPERATURE_WARNING, UUID]
    assert observed.condition.value == "unknown"
    assert rules.SENSOR_FROZEN in bench.firing


@pytest.mark.parametrize("period", [2, 10])
def test_a_temperature_that_is_unchanged_under_a_steady_mean_is_not_frozen(period: int):
    bench = Bench()
    for _ in range(100):
        bench.run(period / 2, power_watts=290.0)
        bench.run(period / 2, power_watts=110.0)
    assert bench.transitions == []


# Presence


def test_a_lost_gpu_fires_at_once_and_resolves_after_ten_good_seconds():
    bench = Bench()
    second = replace(COOL, index=1, uuid="GPU-1")
    bench.see(COOL, second)
    bench.see(second, faults=[LOST])
    assert bench.firing == {rules.LOST}
    assert bench.reason(rules.LOST) == (
        "GPU 0 (card) can't be read: nvmlDeviceGetUUID says GPU_IS_LOST (NVML error 15)"
    )
    for _ in range(10):
        bench.see(COOL, second)
    assert bench.firing == {rules.LOST}
    bench.see(COOL, second)
    assert bench.changes(rules.LOST) == [Change.FIRING, Change.RESOLVED]


def test_the_only_gpu_lost_is_a_lost_gpu_and_a_hung_driver_is_not():
    bench = Bench()
    bench.see(COOL)
    bench.miss(Unavailable("read", "GPU 0", reason=str(LOST)))
    assert bench.firing == {rules.LOST}
    bench = Bench()
    bench.see(COOL)
    bench.miss(HANGS)
    assert bench.firing == {rules.DRIVER_UNAVAILABLE}
    assert bench.reason(rules.DRIVER_UNAVAILABLE) == "no GPU can be read: NVML did not answer within 2 s"


def test_a_gpu_that_was_never_read_fires_by_its_index():
    bench = Bench()
    second = replace(COOL, index=1, uuid="GPU-1")
    bench.see(second, faults=[LOST])
    assert (rules.LOST, "index-0") in bench.alerts
    assert bench.firing == {rules.LOST}
    for _ in range(12):
        bench.see(COOL, second)
    assert bench.firing == set()


def test_a_gpu_with_a_fault_in_one_figure_is_not_lost():
    bench = Bench()
    for _ in range(5):
        bench.see(COOL, faults=[GpuFault(0, "nvmlDeviceGetFanSpeed", 999, "UNKNOWN")])
    assert bench.transitions == []


def test_another_number_of_gpus_than_at_first_fires_until_it_is_right_again():
    bench = Bench()
    second = replace(COOL, index=1, uuid="GPU-1")
    bench.see(COOL, second)
    bench.see(COOL)
    assert bench.firing == {rules.COUNT_CHANGED, rules.LOST}
    assert "there are 1 GPUs, and 2 are expected" in bench.reason(rules.COUNT_CHANGED)
    for _ in range(12):
        bench.see(COOL, second)
    assert bench.firing == set()


def test_another_card_in_the_same_place_is_a_lost_one():
    bench = Bench()
    bench.see(COOL)
    bench.see(replace(COOL, uuid="GPU-other"))
    assert bench.firing == {rules.LOST}
    assert "no longer lists it" in bench.reason(rules.LOST)


def test_how_many_there_must_be_can_be_said():
    bench = Bench(GpuSettings(alerts=AlertSettings(expected_gpus=2)))
    bench.see(COOL)
    assert bench.firing == {rules.COUNT_CHANGED}


def test_while_the_driver_is_gone_nothing_is_known_of_the_rest():
    bench = Bench()
    bench.run(20, temperature_celsius=87.0)
    for _ in range(250):
        bench.miss(HANGS)
    assert rules.TEMPERATURE_WARNING in bench.firing
    for _ in range(100):
        bench.miss(HANGS)
    assert bench.firing == {rules.DRIVER_UNAVAILABLE}
    assert bench.changes(rules.TEMPERATURE_WARNING)[-1] is Change.EXPIRED


def test_readings_too_far_apart_tell_nothing_about_the_time_between():
    bench = Bench(period=100.0)
    for _ in range(20):
        bench.see(replace(COOL, temperature_celsius=86.0, clock_events=("hw_thermal_slowdown",)))
    assert rules.HOT_TOO_LONG not in bench.firing
    assert rules.HARDWARE_THROTTLING not in bench.firing


def test_simulated_gpus_are_no_lost_real_ones():
    bench = Bench()
    bench.see(COOL)
    bench.sensors = replace(bench.sensors, simulated=True)
    bench.memory = replace(bench.memory, simulated=True)
    bench.see(replace(COOL, uuid="GPU-real"))
    assert rules.LOST not in bench.firing
