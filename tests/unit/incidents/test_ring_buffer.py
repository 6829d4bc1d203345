from __future__ import annotations

import math
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.incidents.ring_buffer import FIGURES, ROW_BYTES, RingBuffer, RingBuffers

temperatures = st.one_of(st.none(), st.integers(20, 110).map(float))


def reading(temperature: float | None = 60.0, *, uuid: str = "GPU-0", bits: int | None = 4) -> GpuReading:
    return GpuReading(
        0, uuid, "card", temperature_celsius=temperature, memory_used_bytes=2.0**34, clock_event_bits=bits
    )


@given(st.integers(1, 20), st.lists(temperatures, max_size=60), st.integers(0, 60), st.integers(1, 30))
def test_a_ring_and_its_copy_hold_what_a_queue_would(
    capacity: int, given_: list[float | None], since: int, room: int
) -> None:
    ring, model = RingBuffer(capacity), deque[tuple[float, float | None]](maxlen=capacity)
    for at, temperature in enumerate(given_):
        ring.add(float(at), reading(temperature))
        model.append((float(at), temperature))
    place = FIGURES.index("temperature_celsius")
    assert [(row.at, row.figures[place]) for row in ring.rows()] == list(model)
    late = [entry for entry in model if entry[0] >= since]
    assert [(row.at, row.figures[place]) for row in ring.rows(since)] == late
    copy = ring.copy(capacity + room, since)
    for extra in range(room):
        copy.add(1000.0 + extra, reading(61.0))
    assert [row.at for row in copy.rows()] == [at for at, _ in late] + [1000.0 + e for e in range(room)]
    assert [(row.at, row.figures[place]) for row in ring.rows()] == list(model)  # the copy is one


def test_sixteen_gpus_at_full_rate_take_a_bounded_memory_from_the_start() -> None:
    recorder = RingBuffers()
    gpus = [reading(uuid=f"GPU-{index}") for index in range(16)]
    recorder.add(0.0, gpus)
    first = recorder.nbytes
    for step in range(1, 100):
        recorder.add(step / 4, gpus)
    assert recorder.nbytes == first == 16 * 2401 * ROW_BYTES
    assert first < 3 * 2**20


def test_what_is_not_known_or_can_not_be_held_is_none_and_never_zero() -> None:
    ring = RingBuffer(4)
    ring.add(
        0.0, GpuReading(0, "u", "n", power_watts=math.inf, power_limit_watts=1e39, clock_event_bits=None)
    )
    ring.add(1.0, GpuReading(0, "u", "n", clock_event_bits=0, temperature_celsius=0.0))
    unknown, known = ring.rows()
    assert set(unknown.figures) == {None}
    assert unknown.clock_event_bits is None
    assert known.clock_event_bits == 0
    assert known.figures[FIGURES.index("temperature_celsius")] == 0.0


def test_the_gpu_that_was_read_longest_ago_gives_way_to_a_new_one() -> None:
    recorder = RingBuffers(gpus=2)
    for at, uuid in enumerate(("a", "b", "a", "c")):
        recorder.add(float(at), [reading(uuid=uuid)])
    assert set(recorder.uuids) == {"a", "c"}


def test_freezing_leaves_out_a_gpu_that_is_long_gone() -> None:
    recorder = RingBuffers(keep=600.0)
    recorder.add(0.0, [reading(uuid="gone"), reading(uuid="here")])
    recorder.add(700.0, [reading(uuid="here")])
    frozen = recorder.freeze(700.0, room=1)
    assert set(frozen) == {"here"}
    assert [row.at for row in frozen["here"].rows()] == [700.0]
