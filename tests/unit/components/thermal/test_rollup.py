from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.rollup import MinuteLog, reasons, throttled
from aiidpd.components.thermal.signals.checked import Trust
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Sample
from aiidpd.kernel.publisher import Publisher
from tests.believed import believed
from tests.fakes.clock import FakeClock

BEGIN = 1_800_000_000.0  # a whole minute
CAPPED, HOT, IDLE = 0x4, 0x20, 0x1


def reading(temperature: float | None = 60.0, **more: object) -> GpuReading:
    made = GpuReading(0, "GPU-0", "card", temperature_celsius=temperature, memory_total_bytes=2.0**34)
    return replace(made, **more)  # type: ignore[arg-type]


class Log:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.samples: list[Sample] = []
        bus = EventBus()
        bus.attach(events=self.events.append, samples=self.samples.append)
        self.log = MinuteLog(Publisher(bus, FakeClock(), "thermal"))

    def see(self, second: float, *gpus: GpuReading) -> None:
        self.log.on_snapshot(believed(gpus, second, at=BEGIN + second, simulated=True))


def test_a_temperature_that_is_not_believed_is_in_no_minute() -> None:
    log = Log()
    for second in range(61):
        reading_ = reading(99.0 if second == 30 else 60.0)
        snapshot = believed([reading_], second, at=BEGIN + second, simulated=True)
        if second == 30:
            (gpu,) = snapshot.gpus
            doubted = replace(gpu, temperature=None, trust=Trust.DOUBTED)
            snapshot = replace(snapshot, gpus=(doubted,))
        log.log.on_snapshot(snapshot)
    (event,) = log.events
    assert event.evidence["temperature_max_celsius"] == 60.0
    assert event.evidence["readings"] == 60


def test_a_line_a_minute_with_the_spread_of_each_figure() -> None:
    log = Log()
    for second in range(61):
        log.see(second, reading(60.0 + second % 10, power_watts=None, fan_ratio=0.5))
    (event,) = log.events
    assert (event.kind, event.subject, event.simulated) == ("gpu.minute", "GPU-0", True)
    assert BEGIN + 59 < event.time < BEGIN + 60
    assert event.evidence == {
        "gpu": 0,
        "readings": 60,
        "temperature_min_celsius": 60.0,
        "temperature_mean_celsius": 64.5,
        "temperature_max_celsius": 69.0,
        "fan_min_ratio": 0.5,
        "fan_mean_ratio": 0.5,
        "fan_max_ratio": 0.5,
        "memory_total_bytes": 2.0**34,
        "throttle_reason": "",
    }
    assert event.reason == "GPU 0: 60/64/69 °C"


@given(st.lists(st.floats(20, 100), min_size=1, max_size=59))
def test_the_mean_lies_between_the_least_and_the_greatest(values: list[float]) -> None:
    log = Log()
    for second, value in enumerate(values):
        log.see(second, reading(value))
    log.see(60, reading())
    figures = log.events[0].evidence
    low, mean, high = (figures[f"temperature_{which}_celsius"] for which in ("min", "mean", "max"))
    assert isinstance(low, float)
    assert low == round(min(values), 3)
    assert low <= mean <= high == round(max(values), 3)  # type: ignore[operator]


def test_throttled_seconds_are_the_driver_s_own_where_it_counts() -> None:
    log = Log()
    for second in range(61):
        log.see(second, reading(clock_event_bits=HOT | CAPPED, sw_thermal_throttle_seconds=100 + second / 4))
    evidence = log.events[0].evidence
    assert evidence["sw_thermal_slowdown_seconds"] == pytest.approx(59 / 4)
    assert evidence["sw_power_cap_seconds"] == 59.0  # no counter: as long as the bit stood
    assert evidence["throttle_reason"] == "sw_power_cap|sw_thermal_slowdown"


def test_a_counter_that_fell_or_leapt_and_a_long_gap_tell_nothing() -> None:
    def seconds(before: float, after: float, elapsed: float) -> dict[str, float]:
        def at(value: float) -> GpuReading:
            return reading(hw_thermal_throttle_seconds=value)

        return throttled(at(before), at(after), elapsed)

    assert seconds(10.0, 10.5, 1.0) == {"hw_thermal_slowdown": 0.5}
    assert seconds(10.0, 1.0, 1.0) == {}
    assert seconds(10.0, 1e9, 1.0) == {}
    assert throttled(None, reading(clock_event_bits=HOT), 1.0) == {}
    assert throttled(reading(), reading(clock_event_bits=HOT), 60.0) == {}
    assert throttled(reading(), reading(clock_event_bits=IDLE), 1.0) == {}


def test_a_minute_without_readings_is_not_published_and_a_gpu_that_is_gone_is_forgotten() -> None:
    log = Log()
    log.see(0, reading(), replace(reading(), index=1, uuid="GPU-1"))
    for minute in range(1, 6):
        log.see(60 * minute, reading())
    assert [event.subject for event in log.events if event.subject == "GPU-1"] == ["GPU-1"]
    assert len([event for event in log.events if event.subject == "GPU-0"]) == 5


def test_series_that_hold_are_sampled_when_they_change_and_once_a_minute() -> None:
    log = Log()
    for second in range(120):
        log.see(second, reading(clock_event_bits=CAPPED if second >= 30 else 0))
    found = [
        (sample.time - BEGIN, sample.value) for sample in log.samples if sample.series == "clock_event_bits"
    ]
    assert found == [(0.0, 0.0), (30.0, 4.0), (60.0, 4.0)]
    assert sum(sample.series == "memory_total_bytes" for sample in log.samples) == 2


def test_reasons_leave_out_what_is_no_throttling() -> None:
    assert reasons(IDLE) == ""
    assert reasons(IDLE | CAPPED | HOT) == "sw_power_cap|sw_thermal_slowdown"
