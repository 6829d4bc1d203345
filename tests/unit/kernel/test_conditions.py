"""A condition is announced when it begins, when its severity changes and when it ends; never in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Event, Severity
from tests.fakes.clock import FakeClock


def made(clock: FakeClock) -> tuple[Conditions, list[Event]]:
    bus, seen = EventBus(), []
    bus.attach(events=seen.append)
    return Conditions(clock, bus), seen


async def test_a_condition_keeps_its_beginning_and_takes_the_newest_reason(clock: FakeClock):
    conditions, seen = made(clock)
    conditions.set(Condition("disk", "history", Severity.WARNING, "full"))
    began = clock.time()
    await clock.advance(60)
    conditions.set(Condition("disk", "history", Severity.WARNING, "still full"))
    (condition,) = conditions.active()
    assert (condition.since, condition.reason) == (began, "still full")
    assert [one.kind for one in seen] == ["finding.raised"]


async def test_a_condition_is_as_old_as_it_is_whatever_happens_to_the_clock(clock: FakeClock):
    conditions, _ = made(clock)
    conditions.set(Condition("disk", "history", Severity.WARNING, "full"))
    clock.jump(864_000.0)
    clock.suspend(100.0)
    await clock.advance(60)
    (condition,) = conditions.active()
    assert clock.time() - condition.since == 160


def test_the_gravest_comes_first(clock: FakeClock):
    conditions, _ = made(clock)
    conditions.set(Condition("a", "x", Severity.INFO, "r"))
    conditions.set(Condition("b", "x", Severity.ERROR, "r"))
    assert [condition.type for condition in conditions.active()] == ["b", "a"]


severities = st.sampled_from([Severity.INFO, Severity.WARNING, Severity.ERROR])


@given(st.lists(st.one_of(st.none(), severities)))
def test_every_change_is_announced_once(changes: list[Severity | None]):
    conditions, seen = made(FakeClock())
    standing: Severity | None = None
    announced = 0
    for wanted in changes:
        if wanted is None:
            conditions.clear("code", "subject")
        else:
            conditions.set(Condition("code", "subject", wanted, "r"))
        announced += wanted != standing
        standing = wanted
        assert len(seen) == announced
        assert len(conditions.active()) == (standing is not None)


def test_what_an_update_does_not_name_is_over_and_other_types_are_left_alone() -> None:
    conditions, seen = made(FakeClock())
    conditions.set(Condition("other", "a", Severity.ERROR, "r"))
    conditions.update(("sick", "loop"), [Condition("sick", each, Severity.ERROR, "r") for each in "ab"])
    conditions.update(("sick", "loop"), [Condition("sick", "b", Severity.ERROR, "s")])
    assert {(each.type, each.subject, each.reason) for each in conditions.active()} == {
        ("other", "a", "r"),
        ("sick", "b", "s"),
    }
    assert [one.kind for one in seen] == ["finding.raised"] * 3 + ["finding.cleared"]
    with pytest.raises(ValueError, match="nothing would clear other"):
        conditions.update(("sick",), [Condition("other", "a", Severity.ERROR, "r")])


def test_what_is_made_up_is_marked_so() -> None:
    conditions, seen = made(FakeClock())
    conditions.set(Condition("sick", "a", Severity.ERROR, "r", source="containers", simulated=True))
    conditions.clear("sick", "a")
    assert [(one.kind, one.source, one.simulated) for one in seen] == [
        ("finding.raised", "health", True),
        ("finding.cleared", "health", True),
    ]
    assert seen[0].evidence == {"type": "sick", "remedy": ""}
