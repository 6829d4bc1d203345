from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.emergency import EmergencyState, EmergencyWatch, step
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.settings import GpuOverride, GpuSettings
from aiidpd.components.thermal.signals.validate import Sensors, validate
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from tests.believed import USUAL, believed
from tests.fakes.clock import FakeClock
from tests.tables import made

CONTAINERS = ("vllm", "llama")


def snapshot(*temperatures: float | None) -> GpuSnapshot:
    gpus = tuple(
        GpuReading(index, f"GPU-{index}", "card", temperature_celsius=each, shutdown_celsius=95.0)
        for index, each in enumerate(temperatures)
    )
    return GpuSnapshot(gpus, "580", simulated=False)


def began(temperatures: list[float | None], period: float = 1.0, settings: GpuSettings = USUAL) -> list[int]:
    """Return at which readings an emergency began."""
    sensors, state, found = Sensors(), EmergencyState(), []
    for number, temperature in enumerate(temperatures):
        now = number * period
        sensors, checked = validate(sensors, snapshot(temperature), now, now, settings)
        state, emergencies = step(state, checked)
        found += [number] * len(emergencies)
    return found


@pytest.mark.parametrize(
    ("temperatures", "expected"),
    [
        ([85, 91, 91, 90], [3]),
        ([85, 91, 91, 89, 91, 91, 89], []),  # not in a row
        ([85, 91, None, 91, 91, None, 91], []),  # what is not known is no critical reading
        ([85, 91, 91, 150, 91, 91, 91], [6]),  # what can't be true is none either, and breaks the row
        ([40, 91, 91, 40, 41], []),  # a glitch of the sensor: up by 51 degrees in a second, and back
        ([85] + [92] * 60, [3]),  # once for as long as it holds
        ([85, 92, 92, 92, 88, 92, 92, 92], [3]),  # within the hysteresis it still holds
        ([85, 92, 92, 92, 87, 92, 92, 92], [3, 7]),  # it was over, and began again
        ([85, 92, 92, 92, None, None, 92, 92, 92], [3]),
        ([110.0] * 60, []),  # 15 over the point at which the card turns itself off
    ],
)
def test_three_believable_critical_readings_in_a_row(
    temperatures: list[float | None], expected: list[int]
) -> None:
    assert began(temperatures) == expected


def test_a_fast_watch_is_no_reason_to_wait_less() -> None:
    (at,) = began([85.0, *[92.0] * 20], period=0.25)
    assert at * 0.25 >= 2.0


@pytest.mark.parametrize("period", [0.25, 1.0])
def test_a_pump_that_stops_between_two_readings_is_an_emergency_within_five_seconds(period: float) -> None:
    sensors, state = Sensors(), EmergencyState()
    now, found = 0.0, []
    while now < 15:
        temperature = 50.0 if now < 5 else 91.0 + min(now - 5, 2.0)
        hot = GpuReading(0, "GPU-0", "card", temperature_celsius=round(temperature), power_watts=250.0)
        raw = GpuSnapshot((hot,), "580", simulated=False)
        sensors, checked = validate(sensors, raw, now, now, USUAL)
        state, began_now = step(state, checked)
        found += [now] * len(began_now)
        now += period
    (at,) = found
    assert at - 5 <= 5.0


def test_readings_far_apart_are_no_row() -> None:
    assert began([85.0, *[92.0] * 10], period=11.0) == []


def test_where_the_gpus_are_read_twice_a_minute_only_such_readings_are_a_row() -> None:
    rarely = made(GpuSettings, interval=30.0)
    assert began([85.0, *[92.0] * 10], period=30.0, settings=rarely) == [3]


def test_each_gpu_has_its_own_limit_and_its_own_row() -> None:
    override = GpuOverride(gpu="GPU-1", warning_celsius=70, critical_celsius=80)
    own = made(GpuSettings, overrides=(override,))
    state, found = EmergencyState(), []
    for second in range(6):
        checked = believed(snapshot(82.0, 82.0).gpus, float(second), settings=own)
        state, emergencies = step(state, checked)
        found += emergencies
    assert [(each.reading.uuid, each.critical_celsius) for each in found] == [("GPU-1", 80)]


@given(st.lists(st.sampled_from([80.0, 86.9, 87.5, 89.0, 90.0, 91.0]), max_size=80))
def test_an_emergency_follows_three_in_a_row_and_two_never_without_an_end_between(
    values: list[float],
) -> None:
    found = began(list(values))
    for at in found:
        assert all(value >= 90.0 for value in values[at - 2 : at + 1])
    for first, second in pairwise(found):
        assert any(value <= 87.0 for value in values[first + 1 : second])
    if not found:
        assert not any(
            all(value >= 90.0 for value in values[at : at + 3]) for at in range(max(0, len(values) - 2))
        )


def test_the_event_names_what_to_stop_and_a_reload_switches_it_off(clock: FakeClock) -> None:
    events: list[Event] = []
    messages = Messages(clock)
    inbox = messages.inbox(EmergencyStop)
    bus = EventBus()
    bus.attach(events=events.append)
    containers = CONTAINERS
    listener = EmergencyWatch(Publisher(bus, clock, "thermal"), messages, lambda: containers)
    for second in range(5):
        listener.on_snapshot(believed(snapshot(92.0).gpus, float(second), at=100.0 + second))
    (event,) = events
    assert (event.kind, event.severity, event.subject) == ("gpu.emergency", Severity.ERROR, "GPU-0")
    assert event.evidence["containers"] == "vllm, llama"
    assert event.evidence["readings"] == 3
    order = inbox.first()
    assert order is not None
    assert (order.gpu, order.containers, order.event_id) == ("GPU-0", ("vllm", "llama"), event.id)
    containers = ()
    for second in range(5, 10):
        listener.on_snapshot(believed(snapshot(92.0).gpus, float(second), at=100.0 + second))
    assert len(events) == 1
