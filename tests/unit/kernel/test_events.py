"""The bus numbers, orders and bounds; nobody can hold up a publisher."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Sample


def event(reason: str = "because") -> Event:
    return Event(time=1.0, source="test", kind="test.happened", reason=reason)


def test_ids_go_on_from_the_last_run():
    bus, seen = EventBus(last_id=41), []
    bus.attach(events=seen.append)
    bus.publish(event())
    bus.publish(event())
    assert [one.id for one in seen] == [42, 43]


@given(published=st.integers(0, 50), limit=st.integers(1, 20))
async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(published: int, limit: int):
    bus = EventBus()
    with bus.subscribe(limit) as subscription:
        for n in range(published):
            bus.publish(event(str(n)))
        kept = [(await subscription.next()).reason for _ in range(min(published, limit))]
    assert kept == [str(n) for n in range(max(0, published - limit), published)]
    assert subscription.missed == max(0, published - limit)


async def test_a_reader_waits_for_the_next_event():
    bus, seen = EventBus(), []

    async def read() -> None:
        seen.append((await subscription.next()).reason)

    with bus.subscribe() as subscription:
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.lowlevel.checkpoint()
            assert seen == []
            bus.publish(event("now"))
    assert seen == ["now"]
    assert bus.subscribers == 0


def test_samples_reach_sample_sinks_alone():
    bus, events, samples = EventBus(), [], []
    bus.attach(events=events.append)
    bus.attach(samples=samples.append)
    sample = Sample(1.0, "thermal", "temperature_celsius", "0", 61.0)
    bus.sample(sample)
    assert (events, samples) == ([], [sample])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_evidence_that_cannot_be_stored_is_refused_at_its_source(value: object):
    with pytest.raises((ValueError, TypeError)):
        Event(time=1.0, source="test", kind="test.happened", reason="x", evidence={"figure": value})  # type: ignore[dict-item]
