"""Circumstances before and after a shift."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.regression.circumstances import (
    LONGEST_VALUE,
    MOST_NAMES,
    Change,
    Circumstances,
    Moment,
    applied,
    bounded,
    changes,
    difference,
)

VALUES = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.floats(), st.booleans(), st.none())
KNOWN = st.dictionaries(st.text(max_size=3), VALUES, max_size=6)


def moments(*each: Circumstances) -> tuple[Moment, ...]:
    """Return moments at 1, 2, 3 ... with these circumstances."""
    return tuple(
        Moment(float(place), difference(before, now))
        for place, (before, now) in enumerate(pairwise(({}, *each)), 1)
    )


def test_what_differs_is_named_and_what_changed_nearest_to_the_onset_is_first():
    old = {"driver": "570", "image": "vllm:1", "kernel": "6.1", "--max-num-seqs": "256"}
    seen = [old] * 4 + [old | {"kernel": "6.2"}] * 3 + [old | {"kernel": "6.2", "image": "vllm:2"}] * 3
    assert changes({}, moments(*seen), 8.0) == (
        Change("image", "vllm:1", "vllm:2", 8.0),
        Change("kernel", "6.1", "6.2", 5.0),
    )
    assert changes({}, moments(*seen), 5.0) == (
        Change("kernel", "6.1", "6.2", 5.0),
        Change("image", "vllm:1", "vllm:2", 8.0),
    )


def test_what_is_gone_or_new_has_changed_too():
    found = changes({}, moments(*[{"a": "x"}] * 3, *[{"b": "y"}] * 3), 4.0)
    assert found == (Change("a", "x", None, 4.0), Change("b", None, "y", 4.0))


def test_a_temperature_that_varies_as_always_is_no_change_and_a_power_limit_is():
    before = [{"celsius": 60.0 + place % 5, "watts": 300} for place in range(10)]
    later = [{"celsius": 61.0 + place % 5, "watts": 250} for place in range(10)]
    assert changes({}, moments(*before, *later), 11.0) == (Change("watts", 300.0, 250.0, 11.0),)
    hot = [{"celsius": 83.0, "watts": 300} for _ in range(5)]
    (found,) = changes({}, moments(*before, *hot), 11.0)
    assert (found.name, found.before, found.after) == ("celsius", 62.0, 83.0)


def test_what_was_before_the_first_moment_counts_where_no_moment_is_before():
    assert changes({"driver": "1"}, (Moment(5.0, {"driver": "2"}),), 5.0) == (
        Change("driver", "1", "2", 5.0),
    )


def test_nothing_is_no_change():
    assert changes({}, (), 1.0) == ()
    assert changes({"a": 1}, (Moment(1.0),), 2.0) == ()


@given(KNOWN, KNOWN)
def test_a_difference_leads_from_the_one_to_the_other(one: Circumstances, other: Circumstances):
    one, other = bounded(one), bounded(other)
    found = applied(one, difference(one, other))
    assert found == other
    assert {name: type(value) is bool for name, value in found.items()} == {
        name: type(value) is bool for name, value in other.items()
    }


@given(st.lists(KNOWN, max_size=8), st.floats(0, 9))
def test_whatever_is_known_changes_are_real_and_in_order(known: list[Circumstances], onset: float):
    found = changes({}, moments(*map(bounded, known)), onset)
    assert [abs(each.at - onset) for each in found] == sorted(abs(each.at - onset) for each in found)
    assert all(each.before != each.after or isinstance(each.before, bool) for each in found)


@given(st.dictionaries(st.text(), VALUES))
def test_what_is_stored_is_bounded(given_: dict[str, str | int | float | bool | None]):
    found = bounded({**given_, "long": "x" * 10_000})
    assert len(found) <= MOST_NAMES
    for value in found.values():
        assert value is not None
        assert not isinstance(value, str) or len(value) <= LONGEST_VALUE
        assert not isinstance(value, float) or math.isfinite(value)
