"""The next act of a trial: whatever happens, the old container serves in the end, or the new one was kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.trial.decide import Act, next_act
from aiidpd.components.containers.trial.state import ImageTrial, Phase, Place, Situation
from aiidpd.contracts.trials import Wish
from tests.unit.components.containers.trial.world import ENTRY, World

MADE = replace(ENTRY, new="b" * 64)
STOPPED = replace(MADE, stopped=True)
SERVING = replace(STOPPED, new_run="second")


def place(text: str) -> Place | None:
    """Return the place of ``NAME`` or ``NAME RUN``, which runs."""
    if not text:
        return None
    name, _, run = text.partition(" ")
    names = {"old": ENTRY.old_name, "new": ENTRY.new_name, "beside": ENTRY.beside_name}
    return Place(names.get(name, name), bool(run), run)


@pytest.mark.parametrize(
    ("entry", "wish", "places", "act"),
    [
        (ENTRY, "old", ("llm first", "", ""), Act.SERVES),
        (ENTRY, "new", ("llm first", "", ""), Act.CREATE_NEW),
        (MADE, "new", ("llm first", "new", ""), Act.STOP_OLD),
        (STOPPED, "new", ("llm", "new", ""), Act.RENAME_OLD),
        (STOPPED, "new", ("old", "new", ""), Act.NAME_NEW),
        (STOPPED, "new", ("old", "llm", ""), Act.START_NEW),
        (SERVING, "new", ("old", "llm second", ""), Act.SERVES),
        (SERVING, "keep", ("old", "llm second", ""), Act.KEEP),
        (SERVING, "old", ("old", "llm second", ""), Act.STOP_NEW),
        (STOPPED, "old", ("old", "llm", ""), Act.RENAME_NEW),
        (STOPPED, "old", ("old", "new", ""), Act.NAME_OLD),
        (STOPPED, "old", ("llm", "new", ""), Act.START_OLD),
        # Beside.
        (ENTRY, "beside", ("llm first", "", ""), Act.CREATE_BESIDE),
        (replace(ENTRY, beside="c"), "beside", ("llm first", "", "beside"), Act.START_BESIDE),
        (replace(ENTRY, beside="c", new_run="x"), "beside", ("llm first", "", "beside x"), Act.SERVES),
        (replace(ENTRY, beside="c", new_run="x"), "new", ("llm first", "", "beside x"), Act.STOP_BESIDE),
        (replace(ENTRY, beside="c"), "new", ("llm first", "", "beside"), Act.REMOVE_BESIDE),
        # Something has happened.
        (MADE, "new", ("llm", "new", ""), Act.RETURN),  # a person has stopped it
        (MADE, "new", ("llm other", "new", ""), Act.RETURN),  # a person has restarted it
        (SERVING, "new", ("old", "llm", ""), Act.RETURN),  # the new one has ended
        (SERVING, "new", ("old", "llm third", ""), Act.RETURN),  # it was started anew
        (SERVING, "keep", ("old", "llm", ""), Act.RETURN),
        (SERVING, "new", ("old first", "llm second", ""), Act.STOP_OLD),  # the runtime came back
        (SERVING, "new", ("old", "", ""), Act.RETURN),
        (SERVING, "new", ("", "llm second", ""), Act.RETURN),
        (SERVING, "new", ("theirs", "llm second", ""), Act.RETURN),
        (replace(SERVING, barred=True), "new", ("old", "llm", ""), Act.RETURN),
        (SERVING, "back", ("old", "llm second", ""), Act.RETURN),
    ],
)
def test_while_it_is_tried(entry: ImageTrial, wish: str, places: tuple[str, ...], act: Act) -> None:
    old, new, beside = map(place, places)
    assert next_act(entry, Situation(old, new, beside), Wish(wish))[0] is act


@pytest.mark.parametrize(
    ("entry", "old", "new", "taken", "act"),
    [
        (SERVING, "old", "llm second", False, Act.STOP_NEW),
        (SERVING, "old", "llm", False, Act.RENAME_NEW),
        (SERVING, "old", "new", False, Act.NAME_OLD),
        (SERVING, "llm", "new", False, Act.START_OLD),
        (SERVING, "llm third", "new", False, Act.REMOVE_NEW),
        (SERVING, "llm third", "", False, Act.RETURNED),
        (SERVING, "old", "new", True, Act.REMOVE_NEW),
        (SERVING, "old", "", True, Act.REPLACED),
        (MADE, "llm", "", False, Act.RETURNED),  # a person has stopped it: it stays down
        (replace(SERVING, barred=True), "llm", "", False, Act.RETURNED),
        (SERVING, "", "llm second", False, Act.GONE),
        (SERVING, "", "llm", False, Act.START_NEW),
        (SERVING, "", "new", False, Act.NAME_NEW),
        (MADE, "", "new", False, Act.REMOVE_NEW),
        (SERVING, "", "", False, Act.GONE),
    ],
)
def test_on_the_way_back(entry: ImageTrial, old: str, new: str, taken: bool, act: Act) -> None:
    entry = replace(entry, phase=Phase.RETURNING)
    assert next_act(entry, Situation(place(old), place(new), None, taken), Wish.NEW)[0] is act


@pytest.mark.parametrize(
    ("old", "new", "act"),
    [
        ("old", "llm second", Act.REMOVE_OLD),
        ("old first", "llm second", Act.STOP_OLD),
        ("", "llm second", Act.KEPT),
        ("", "llm", Act.START_NEW),
        ("old", "llm", Act.RETURN),
        ("old", "", Act.RETURN),
        ("", "", Act.GONE),
    ],
)
def test_once_it_is_kept(old: str, new: str, act: Act) -> None:
    entry = replace(SERVING, phase=Phase.KEEPING)
    assert next_act(entry, Situation(place(old), place(new)), Wish.BACK)[0] is act


WISHES = st.sampled_from([Wish.OLD, Wish.BESIDE, Wish.NEW, Wish.NEW, Wish.NEW, Wish.KEEP, Wish.BACK])
MEDDLING = ("the runtime restarts", "the new one ends", "the new one is removed", "all is started")
EVENTS = st.lists(
    st.tuples(WISHES, st.integers(1, 8), st.sampled_from(["", "", "", "killed", *MEDDLING])), max_size=12
)


@given(EVENTS, st.booleans())
def test_in_the_end_the_old_one_serves_or_the_new_one_was_kept(
    events: list[tuple[Wish, int, str]], crashes: bool
) -> None:
    world = World(crashes=crashes)
    for wish, acts, what in events:
        for _ in range(acts):
            world.step(wish)
        if what == "killed":
            world.step(wish, killed=True)
        elif what and (ENTRY.old in world.containers or not what.startswith("the new one")):
            world.meddle(what)  # not with the one that was kept: that is a person's own business
    world.settle()
    old, new = world.containers.get(ENTRY.old), world.containers.get("new")
    if world.ended is Act.KEPT:
        assert new is not None
        assert (new[0], bool(new[1]), old) == ("llm", True, None)
    else:
        assert world.ended is Act.RETURNED
        assert old is not None
        assert (old[0], bool(old[1]), new) == ("llm", True, None)
    assert "beside" not in world.containers


@given(EVENTS)
def test_nothing_is_kept_that_nobody_wished_to_keep(events: list[tuple[Wish, int, str]]) -> None:
    world = World()
    for wish, acts, what in events:
        for _ in range(acts):
            world.step(Wish.NEW if wish is Wish.KEEP else wish, killed=what == "killed")
    world.settle()
    assert world.ended is Act.RETURNED


@given(EVENTS, st.sampled_from(["old", "new", "name"]), st.integers(0, 20))
def test_what_a_person_takes_away_ends_it(events: list[tuple[Wish, int, str]], which: str, at: int) -> None:
    world = World()
    for number, (wish, acts, _) in enumerate(events):
        if number == at:
            if which == "name" and all(name != "llm" for name, _ in world.containers.values()):
                world.containers["theirs"] = ("llm", "theirs")
            elif which == "old":
                world.containers.pop(ENTRY.old, None)
        for _ in range(acts):
            world.step(wish)
    world.settle()
    named = [found for found in world.containers.values() if found[0] == "llm"]
    assert len(named) <= 1
    if ENTRY.old in world.containers and world.ended is Act.RETURNED:
        assert all(run for _, run in named)


def test_a_trial_runs_its_whole_course() -> None:
    world = World()
    for wish in (Wish.OLD, Wish.BESIDE, Wish.NEW, Wish.OLD, Wish.NEW, Wish.KEEP):
        for _ in range(12):
            world.step(wish)
            assert world.entry.phase is not Phase.RETURNING
    assert world.ended is Act.KEPT
    assert world.acts[Act.START_OLD] == 1
