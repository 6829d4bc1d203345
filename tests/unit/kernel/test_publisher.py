from __future__ import annotations

from dataclasses import replace

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Sample, Severity
from aiidpd.kernel.publisher import Publisher
from tests.fakes.clock import FakeClock


async def test_events_and_samples_have_time_source_and_mark_filled_in(clock: FakeClock) -> None:
    bus, seen = EventBus(last_id=6), list[Event | Sample]()
    bus.attach(events=seen.append, samples=seen.append)
    publish = Publisher(bus, clock, "here")
    event = publish.event("a.kind", "it is so", about="x", severity=Severity.WARNING, figure=1.5)
    await clock.advance(2.0)
    publish.marked(simulated=True).sample("heat_celsius", "x", 40.0)
    assert event.id == 7
    assert seen == [
        Event(clock.time() - 2.0, "here", "a.kind", "it is so", "x", Severity.WARNING, {"figure": 1.5}, id=7),
        Sample(clock.time(), "here", "heat_celsius", "x", 40.0, simulated=True),
    ]
    assert publish.marked(simulated=False) is publish


def test_an_event_of_a_pure_step_has_its_own_time_and_the_source_and_mark_of_the_publisher(
    clock: FakeClock,
) -> None:
    bus, seen = EventBus(last_id=6), list[Event]()
    bus.attach(events=seen.append)
    made = Event(5.0, "", "a.kind", "it is so", "x", Severity.WARNING, {"figure": 1.5})
    published = Publisher(bus, clock, "here", simulated=True).effect(made)
    assert published == seen[0] == replace(made, source="here", simulated=True, id=7)


def test_what_happened_at_another_time_says_so(clock: FakeClock) -> None:
    bus, seen = EventBus(), list[Event | Sample]()
    bus.attach(events=seen.append, samples=seen.append)
    publish = Publisher(bus, clock, "here")
    publish.at(5.0).event("a.kind", "it is so")
    publish.at(6.0).marked(simulated=True).sample("heat_celsius", "x", 40.0)
    publish.event("a.kind", "it is so")
    assert [each.time for each in seen] == [5.0, 6.0, clock.time()]
