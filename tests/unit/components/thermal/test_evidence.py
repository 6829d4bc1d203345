from __future__ import annotations

import math

from aiidpd.components.thermal.evidence import (
    COLUMNS,
    NOISE,
    TRIGGERS,
    GpuEvidence,
    values,
)
from aiidpd.components.thermal.figures import RECORDED
from aiidpd.components.thermal.gpu import GpuProcess, GpuReading
from aiidpd.incidents.ring_buffer import RingBuffer, Window
from aiidpd.incidents.series import decode, encode
from aiidpd.kernel.events import Event
from tests.believed import believed

# A time, each figure in single precision, the bits of the clock events.
ROW_BYTES = 8 + 4 * len(RECORDED) + 8


def reading(index: int = 0, temperature: float | None = 60.0, uuid: str | None = None) -> GpuReading:
    return GpuReading(
        index,
        uuid or f"GPU-{index}",
        "card",
        temperature_celsius=temperature,
        slowdown_celsius=92.0,
        memory_used_bytes=2.0**34,
        clock_event_bits=4,
        processes=(GpuProcess(7, "compute", "python", 2.0**30, "c" * 64),) if index else None,
    )


def window(evidence: GpuEvidence) -> Window:
    return evidence.rings.window(-math.inf, math.inf, longest=60.0, offset=1000.0)


def test_sixteen_gpus_at_full_rate_take_a_bounded_memory_from_the_start() -> None:
    evidence = GpuEvidence()
    gpus = [reading(index) for index in range(16)]
    evidence.on_snapshot(believed(gpus, 0.0))
    first = evidence.rings.nbytes
    for step in range(1, 100):
        evidence.on_snapshot(believed(gpus, step / 4))
    assert evidence.rings.nbytes == first == 16 * 2401 * ROW_BYTES
    assert first < 3 * 2**20


def test_what_is_not_known_or_can_not_be_held_is_none_and_never_zero() -> None:
    ring = RingBuffer(COLUMNS, 4)
    unreadable = GpuReading(0, "u", "n", power_watts=math.inf, power_limit_watts=1e39, clock_event_bits=None)
    ring.add(0.0, values(unreadable))
    ring.add(1.0, values(GpuReading(0, "u", "n", clock_event_bits=0, temperature_celsius=0.0)))
    unknown, known = ring.rows()
    assert set(unknown.values) == {None}
    assert known.values[RECORDED.index("temperature_celsius")] == 0.0
    assert known.values[-1] == 0


def test_the_temperature_is_the_first_column() -> None:
    assert RECORDED[0] == "temperature_celsius"


def test_gpus_are_in_the_order_of_their_index_each_with_its_limits_and_processes() -> None:
    evidence = GpuEvidence()
    evidence.on_snapshot(
        believed(
            (
                reading(1),
                reading(0, 61.0),
            ),
            0.0,
        )
    )
    documents, files = evidence.summary(window(evidence))
    assert documents["driver_version"] == "580"
    first, second = documents["gpus"]
    assert (first["uuid"], first["index"], first["file"], first["rows"]) == ("GPU-0", 0, "gpu-0.csv", 1)
    assert first["limits"]["slowdown_celsius"] == 92.0
    assert first["limits"]["shutdown_celsius"] is None
    assert (first["last_read_at"], first["processes"]) == (1000.0, None)
    assert second["processes"] == [
        {"pid": 7, "name": "python", "used_memory_bytes": 2.0**30, "container_id": "c" * 64}
    ]
    found = decode(encode(files[0]))
    assert found.columns == ("time", *(column.name for column in COLUMNS))
    assert (found.rows[0][1], found.rows[0][-1]) == (61.0, "sw_power_cap")


def test_a_gpu_that_came_later_and_one_that_is_gone_are_both_there() -> None:
    evidence = GpuEvidence()
    evidence.on_snapshot(believed((reading(0, uuid="old"),), 0.0))
    open_window = window(evidence)
    evidence.on_snapshot(believed((reading(0, uuid="new"),), 1.0))
    documents, _ = evidence.summary(open_window)
    assert [(gpu["uuid"], gpu["rows"]) for gpu in documents["gpus"]] == [("new", 1), ("old", 1)]


def test_grave_events_of_gpus_begin_an_incident_and_their_minutes_are_noise() -> None:
    def begins(kind: str, **evidence: str) -> bool:
        event = Event(0.0, "thermal", kind, "so", evidence=evidence)
        return any(trigger.meets(event) for trigger in TRIGGERS)

    assert begins("gpu.disappeared")
    assert begins("gpu.emergency")
    assert begins("gpu.xid", **{"class": "hardware"})
    assert begins("gpu.xid", **{"class": "driver"})
    assert not begins("gpu.xid", **{"class": "application"})
    assert not begins("gpu.appeared")
    assert NOISE == ("gpu.minute",)
