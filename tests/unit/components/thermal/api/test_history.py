from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from aiidpd.components.thermal.api.history import GpuHistoryRow, HistoryExport, rows
from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.figures import ROLLED_UP
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.rollup import MinuteLog
from aiidpd.history.store import History
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.events import Sample
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from tests.believed import believed
from tests.fakes.clock import FakeClock

CAPPED = 0x4


@pytest.fixture
async def history(tmp_path: Path, clock: FakeClock) -> AsyncIterator[History]:
    # Every single sample of the last ten minutes, a row a minute before.
    history = History.open(
        tmp_path / "h.sqlite3",
        keep=7 * 86_400,
        max_bytes=2**24,
        clock=clock,
        full_rate=600.0,
        sample_delay=0.0,
    )
    yield history
    history.close()


async def live(history: History, clock: FakeClock, seconds: int) -> None:
    """Let one GPU run, throttled in every third minute."""
    bus = EventBus(history.last_event_id)
    bus.attach(events=history.record_event, samples=history.record_sample)
    log = MinuteLog(Publisher(bus, clock, "thermal"))
    for second in range(seconds):
        if second % 600 == 0:
            await history.flush()  # hours go by faster here than a slow disk takes rows, and few may wait
        await clock.advance(1.0)
        at = clock.time()
        bits = CAPPED if int(at // 60) % 3 == 0 else 0
        gpu = GpuReading(
            0,
            "GPU-0",
            "card",
            temperature_celsius=60.0,
            power_watts=200.0,
            memory_used_bytes=2.0**33,
            memory_total_bytes=2.0**34,
            clock_event_bits=bits,
        )
        log.on_snapshot(believed([gpu], clock.monotonic(), at=at))
        for series in ROLLED_UP:
            value = getattr(gpu, series)
            if value is not None:
                bus.sample(Sample(at, "thermal", series, gpu.uuid, value))
    await history.flush()


async def test_minutes_and_readings_follow_each_other_without_gap_or_double(
    history: History, clock: FakeClock
) -> None:
    begin = clock.time()
    await live(history, clock, 2 * 3600 + 30)
    found = [row async for row in rows(history, "GPU-0", begin, clock.time() + 1)]
    assert [row.time for row in found] == sorted({row.time for row in found})
    minutes, readings = [row for row in found if row.seconds], [row for row in found if not row.seconds]
    assert len(minutes) + len(readings) / 60 == pytest.approx(120.5, abs=1.1)
    assert len(readings) >= 540
    for row in found:
        assert (row.temperature_celsius, row.power_watts) == (60.0, 200.0)
        assert (row.memory_used_bytes, row.memory_total_bytes) == (2.0**33, 2.0**34)
        assert row.utilisation_ratio is None
    assert {row.time - before.time for before, row in pairwise(readings)} == {1.0}
    for row in [*minutes[1:], *readings]:
        assert row.throttle_reason == ("sw_power_cap" if int(row.time // 60) % 3 == 0 else "")


async def test_what_nobody_knows_is_none(history: History, clock: FakeClock) -> None:
    history.record_sample(Sample(clock.time(), "thermal", "temperature_celsius", "GPU-0", 60.0))
    await history.flush()
    (row,) = [row async for row in rows(history, "GPU-0", clock.time() - 10, clock.time() + 1)]
    assert row == GpuHistoryRow(clock.time(), 0.0, temperature_celsius=60.0)


def record(tmp_path: Path, clock: FakeClock, history: History, *gpus: tuple[int, str]) -> HistoryExport:
    latest: Latest[GpuSnapshot] = Latest(clock, 3.0)
    if gpus:
        readings = tuple(GpuReading(index, uuid, "card") for index, uuid in gpus)
        latest.put(GpuSnapshot(readings, "580", simulated=False))
    meter = EnergyMeter(tmp_path / "energy.json", Publisher(EventBus(), clock, "thermal"), clock)
    return HistoryExport(history, latest, meter, clock)


async def test_a_gpu_is_named_by_index_or_uuid_and_need_not_be_where_there_is_one(
    tmp_path: Path, clock: FakeClock, history: History
) -> None:
    await live(history, clock, 5)
    one = record(tmp_path, clock, history, (0, "GPU-0"))
    for name in (None, "0", "GPU-0", "GPU"):
        assert len([row async for row in one.rows(name, None, None)]) == 5
    two = record(tmp_path, clock, history, (0, "GPU-0"), (1, "GPU-1"))
    with pytest.raises(Invalid, match="there are 2"):
        await anext(aiter(two.rows(None, None, None)))
    with pytest.raises(NotFound, match="known: 0, 1"):
        await anext(aiter(two.rows("7", None, None)))
    none = record(tmp_path, clock, history)
    with pytest.raises(NotFound, match=r"no GPU was ever read$"):
        await anext(aiter(none.rows(None, None, None)))
