from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.incidents.ring_buffer import RingBuffer, RingBuffers
from aiidpd.incidents.series import Flags, Number

COLUMNS = (Number("power_watts", 2), Flags("faults", lambda bits: [f"bit_{bits}"]), Number("requests", 0))
temperatures = st.one_of(st.none(), st.integers(20, 110).map(float))


def values(power: float | None = 60.0, bits: int | None = 4) -> tuple[float | None, int | None, int]:
    return power, bits, 7


def rings(reach: float = 600.0, most: int = 32) -> RingBuffers:
    return RingBuffers("room", COLUMNS, reach=reach, fastest=1.0, most=most)


@given(st.integers(1, 20), st.lists(temperatures, max_size=60), st.integers(0, 60), st.integers(1, 30))
def test_a_ring_and_its_copy_hold_what_a_queue_would(
    capacity: int, given_: list[float | None], since: int, room: int
) -> None:
    ring, model = RingBuffer(COLUMNS, capacity), deque[tuple[float, float | None]](maxlen=capacity)
    for at, power in enumerate(given_):
        ring.add(float(at), values(power))
        model.append((float(at), power))
    assert [(row.at, row.values) for row in ring.rows()] == [(at, values(power)) for at, power in model]
    late = [entry for entry in model if entry[0] >= since]
    assert [(row.at, row.values[0]) for row in ring.rows(since)] == late
    copy = ring.copy(capacity + room, since)
    for extra in range(room):
        copy.add(1000.0 + extra, values(61.0))
    assert [row.at for row in copy.rows()] == [at for at, _ in late] + [1000.0 + e for e in range(room)]
    assert [(row.at, row.values[0]) for row in ring.rows()] == list(model)  # the copy is one


def test_a_row_has_a_value_for_each_column() -> None:
    ring = RingBuffer(COLUMNS, 4)
    for wrong in ((1.0, 2), (1.0, 2, 3, 4)):
        with pytest.raises(ValueError, match="argument"):
            ring.add(0.0, wrong)
    assert len(ring) == 0


def test_the_subject_that_was_read_longest_ago_gives_way_to_a_new_one() -> None:
    held = rings(most=2)
    for at, room in enumerate(("a", "b", "a", "c")):
        held.add(room, float(at), values())
    assert set(held.subjects) == {"a", "c"}


def test_a_window_leaves_out_a_subject_that_is_long_gone() -> None:
    held = rings()
    held.add("gone", 0.0, values())
    held.add("here", 0.0, values())
    held.add("here", 700.0, values())
    window = held.window(100.0, 760.0, longest=60.0)
    assert window.subjects == ("here",)
    assert [row[0] for row in window.table(10)["data"]] == [700.0]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=60),
    st.integers(0, 200),
    st.integers(0, 100),
    st.integers(0, 60),
)
def test_a_window_has_what_was_before_and_follows_to_its_end(
    steps: list[tuple[str, int]], began: int, reach: int, lasts: int
) -> None:
    held, now, read = rings(reach=400.0), 0, []
    window = None
    for room, gap in steps:
        now += gap
        if window is None and now > began:
            window = held.window(float(began - reach), float(began + lasts), longest=60.0, offset=1000.0)
        held.add(room, float(now), values(float(now)))
        read.append((now, room))
    if window is None:
        return
    inside = [(at, room) for at, room in read if began - reach <= at <= began + lasts]
    table = window.table(1000)
    assert table["columns"] == ["time", "room", "power_watts", "faults", "requests"]
    assert table["data"] == [[at + 1000.0, room, float(at), 4, 7] for at, room in inside]
    assert window.table(3)["data"] == table["data"][-3:]
    entries, files = window.files("room", sorted(window.subjects), lambda room: {"name": room.upper()})
    assert sum(entry["rows"] for entry in entries) == len(inside)
    for entry, series in zip(entries, files, strict=True):
        mine = [at for at, room in inside if room == entry["room"]]
        assert [row.at for row in series.rows] == mine
        assert entry["last_read_at"] == mine[-1] + 1000.0
        assert (entry["file"], entry["name"]) == (series.file, entry["room"].upper())


def test_a_window_that_is_closed_takes_no_row_and_costs_no_time() -> None:
    held = rings(most=2)
    held.add("a", 0.0, values())
    window = held.window(0.0, 100.0, longest=100.0)
    for room in ("b", "c"):  # a third has no place in the window
        held.add(room, 1.0, values())
    window.close()
    window.close()
    held.add("a", 2.0, values())
    assert [(row[1], row[0]) for row in window.table(10)["data"]] == [("a", 0.0), ("b", 1.0)]
