from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.toggle import Toggle, on_event, on_reading


def test_a_value_that_a_reading_brought_first_is_not_published_by_its_event() -> None:
    toggle, news = on_reading(Toggle(), "paused", 10.0)
    assert news
    toggle, values = on_event(toggle, "paused", 9.0, opposite="")
    assert (toggle.value, values) == ("paused", ())
    _, values = on_event(toggle, "paused", 11.0)
    assert values == ()


def test_two_of_a_kind_prove_one_of_the_other_between_them() -> None:
    toggle, _ = on_event(Toggle("b"), "a", 1.0, opposite="b")
    toggle, values = on_event(toggle, "a", 3.0, opposite="b")
    assert values == ("b", "a")
    toggle, values = on_event(toggle, "b", 2.0, opposite="a")
    assert (toggle.value, values) == ("a", ())


def test_one_that_comes_late_is_published_and_changes_nothing() -> None:
    toggle, _ = on_event(Toggle("b"), "a", 3.0)
    toggle, values = on_event(toggle, "b", 2.0)
    assert (toggle.value, values) == ("a", ("b",))


@given(st.lists(st.booleans(), max_size=30), st.data())
def test_whatever_is_read_and_lost_between_no_more_is_published_than_happened(
    kept: list[bool], data: st.DataObject
) -> None:
    """Events come in order; a reading sees what happened so far, also what is still on its way."""
    toggle, published, seen = Toggle("b"), Counter[str](), 0
    happened = ["ab"[turn % 2] for turn in range(len(kept))]
    for turn in range(len(kept)):
        ahead = data.draw(st.integers(turn, len(kept)))
        if ahead > seen:  # a later reading sees no less
            seen = ahead
            value = happened[seen - 1]
            toggle, news = on_reading(toggle, value, float(seen))
            published[value] += news
        if kept[turn]:
            value = happened[turn]
            toggle, values = on_event(toggle, value, turn + 1.0, opposite="ab".replace(value, ""))
            published.update(values)
    toggle, news = on_reading(toggle, happened[-1] if happened else "b", len(kept) + 1.0)
    published[toggle.value] += news
    assert toggle.value == (happened[-1] if happened else "b")
    if all(kept):
        assert all(published[each] >= happened.count(each) for each in "ab")
