"""What workers ask of each other: both sides read the same out of an event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.contracts.messages import BACK_OFF, hold_seconds, joined, named
from aiidpd.kernel.events import Event, Scalar

NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,20}", fullmatch=True)


def event(**evidence: Scalar) -> Event:
    return Event(0.0, "thermal", BACK_OFF, "it is hot", "GPU-0", evidence=evidence)


@given(st.lists(NAMES, unique=True, max_size=5))
def test_names_come_out_as_they_went_in(names: list[str]) -> None:
    assert named(event(containers=joined(tuple(names)))) == tuple(names)


def test_an_event_that_names_nobody_names_nobody_and_each_counts_once() -> None:
    assert named(event()) == named(event(containers="")) == named(event(containers=" , ")) == ()
    assert named(event(containers="vllm,llama, vllm")) == ("vllm", "llama")


def test_an_ask_holds_for_what_it_says_and_an_hour_at_most() -> None:
    assert hold_seconds(event(hold_seconds=60)) == 60.0
    assert hold_seconds(event(hold_seconds=1e9)) == 3600.0
    for unknown in (None, True, "long"):
        assert hold_seconds(event(hold_seconds=unknown)) == 600.0
    assert hold_seconds(event()) == 600.0
