"""A finding is announced when it begins, when its severity changes and when it ends; never in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Severity
from tests.fakes.clock import FakeClock


def board(clock: FakeClock) -> tuple[Conditions, list[Event]]:
    bus, seen = EventBus(), []
    bus.attach(events=seen.append)
    return Conditions(clock, bus), seen


async def test_a_finding_keeps_its_beginning_and_takes_the_newest_reason(clock: FakeClock):
    health, seen = board(clock)
    health.report("disk", "history", severity=Severity.WARNING, reason="full")
    began = clock.time()
    await clock.advance(60)
    health.report("disk", "history", severity=Severity.WARNING, reason="still full")
    (finding,) = health.findings()
    assert (finding.since, finding.reason) == (began, "still full")
    assert [one.kind for one in seen] == ["finding.raised"]


async def test_a_finding_is_as_old_as_it_is_whatever_happens_to_the_clock(clock: FakeClock):
    health, _ = board(clock)
    health.report("disk", "history", severity=Severity.WARNING, reason="full")
    clock.jump(864_000.0)
    clock.suspend(100.0)
    await clock.advance(60)
    (finding,) = health.findings()
    assert clock.time() - finding.since == 160


def test_the_gravest_comes_first(clock: FakeClock):
    health, _ = board(clock)
    health.report("a", "x", severity=Severity.INFO, reason="r")
    health.report("b", "x", severity=Severity.ERROR, reason="r")
    assert [finding.code for finding in health.findings()] == ["b", "a"]


severities = st.sampled_from([Severity.INFO, Severity.WARNING, Severity.ERROR])


@given(st.lists(st.one_of(st.none(), severities)))
def test_every_change_is_announced_once(changes: list[Severity | None]):
    health, seen = board(FakeClock())
    standing: Severity | None = None
    announced = 0
    for wanted in changes:
        if wanted is None:
            health.clear("code", "subject")
        else:
            health.report("code", "subject", severity=wanted, reason="r")
        announced += wanted != standing
        standing = wanted
        assert len(seen) == announced
        assert len(health.findings()) == (standing is not None)
