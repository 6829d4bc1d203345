"""The next step of a re-creation, by what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.recreate.decide import Act, next_act
from aiidpd.components.containers.recreate.state import Phase, Place, Recreation, Situation

ENTRY = Recreation("a" * 64, "llm", "1f", Phase.SWAPPING, True, 5.0, 1.0, "first", new="b" * 64)
OLD, NEW, COMPOSES = ENTRY.old_name, ENTRY.new_name, ENTRY.composes_name


def place(text: str) -> Place | None:
    """Return the place of ``NAME`` or ``NAME runs`` or ``NAME again``, which is another run."""
    if not text:
        return None
    name, _, state = text.partition(" ")
    names = {"llm": "llm", "old": OLD, "new": NEW, "composes": COMPOSES}
    return Place(names.get(name, name), bool(state), "second" if state == "again" else "first")


@pytest.mark.parametrize(
    ("phase", "old", "new", "seen", "act"),
    [
        # The way forward.
        ("swapping", "llm runs", "new", "", Act.STOP_OLD),
        ("swapping", "llm", "new", "", Act.RENAME_OLD),
        ("swapping", "old", "new", "", Act.RENAME_NEW),
        ("swapping", "old", "llm", "", Act.START_NEW),
        ("swapping", "old", "llm runs", "", Act.WATCH_NEW),
        ("swapping", "old", "llm runs", "proven", Act.REMOVE_OLD),
        ("swapping", "", "llm runs", "proven", Act.RECREATED),
        ("swapping", "", "llm", "", Act.START_NEW),
        ("swapping", "old runs", "llm", "", Act.STOP_OLD),  # the engine came back and started both
        ("swapping", "old again", "llm runs", "proven", Act.STOP_OLD),
        # Somebody has acted meanwhile.
        ("swapping", "llm again", "new", "", Act.RESTORE),
        ("swapping", "theirs", "new", "", Act.RESTORE),
        ("swapping", "old", "", "", Act.NAME_OLD),
        ("swapping", "old", "theirs runs", "", Act.NAME_OLD),
        ("swapping", "old", "new", "taken", Act.RESTORE),
        ("swapping", "", "new", "", Act.RENAME_NEW),
        ("swapping", "", "new", "taken", Act.REMOVE_NEW),
        ("swapping", "", "new runs", "taken", Act.STOP_NEW),
        ("swapping", "", "", "", Act.GONE),
        ("swapping", "", "", "taken", Act.REPLACED),
        ("swapping", "", "theirs", "", Act.GONE),
        # The way back.
        ("restoring", "old", "llm runs", "", Act.STOP_NEW),
        ("restoring", "old", "llm", "", Act.REMOVE_NEW),
        ("restoring", "old", "", "", Act.NAME_OLD),
        ("restoring", "old", "", "taken", Act.REPLACED),
        ("restoring", "llm", "", "", Act.START_OLD),
        ("restoring", "llm runs", "", "", Act.RESTORED),
        ("restoring", "llm runs", "new", "", Act.REMOVE_NEW),
        ("restoring", "theirs", "", "", Act.START_OLD),
        ("restoring", "theirs", "", "taken", Act.RESTORED),
        ("restoring", "", "llm", "", Act.START_NEW),
        # Nothing was touched yet.
        ("creating", "llm runs", "new", "", Act.REMOVE_NEW),
        ("creating", "llm runs", "new runs", "", Act.STOP_NEW),
        ("creating", "llm runs", "", "", Act.RESTORED),
        ("creating", "", "", "taken", Act.RESTORED),
        # Compose has ended, however it did.
        ("composing", "llm runs", "", "", Act.RESTORE),
        ("composing", "composes", "", "", Act.RESTORE),
        ("composing", "composes", "llm", "", Act.RESTORE),
        ("composing", "composes", "llm runs", "", Act.WATCH_NEW),
        ("composing", "composes", "llm runs", "proven", Act.REMOVE_OLD),
        ("composing", "theirs", "llm runs", "proven", Act.RECREATED),
        ("composing", "llm runs", "composes", "", Act.RESTORE),
        ("composing", "", "composes", "", Act.RENAME_NEW),
        ("composing", "", "llm", "", Act.START_NEW),
        ("composing", "", "llm runs", "proven", Act.RECREATED),
        ("restoring", "composes", "llm", "", Act.REMOVE_NEW),
        ("restoring", "composes", "", "", Act.NAME_OLD),
        ("restoring", "llm runs", "composes", "", Act.REMOVE_NEW),
    ],
)
def test_what_comes_next(phase: str, old: str, new: str, seen: str, act: Act) -> None:
    situation = Situation(place(old), place(new), taken=seen == "taken", proven=seen == "proven")
    assert next_act(replace(ENTRY, phase=Phase(phase)), situation) is act


@pytest.mark.parametrize(
    ("phase", "old", "new", "act"),
    [
        ("swapping", "old", "llm", Act.REMOVE_OLD),
        ("swapping", "", "llm", Act.RECREATED),
        ("restoring", "llm", "", Act.RESTORED),
    ],
)
def test_one_that_did_not_run_is_not_started(phase: str, old: str, new: str, act: Act) -> None:
    entry = replace(ENTRY, phase=Phase(phase), ran=False)
    assert next_act(entry, Situation(place(old), place(new))) is act


NAMES = st.sampled_from(["llm", OLD, NEW, COMPOSES, "theirs"])
PLACES = st.none() | st.builds(Place, NAMES, st.booleans(), st.sampled_from(["first", "second"]))


@given(st.sampled_from(list(Phase)), st.booleans(), PLACES, PLACES, st.booleans(), st.booleans())
def test_nothing_that_runs_or_is_the_last_one_is_ever_removed(  # noqa: PLR0917 -- hypothesis names them
    phase: Phase, ran: bool, old: Place | None, new: Place | None, taken: bool, proven: bool
) -> None:
    act = next_act(replace(ENTRY, phase=phase, ran=ran), Situation(old, new, taken, proven))
    if act is Act.REMOVE_OLD:
        assert old is not None
        assert not old.runs
        assert old.name in (OLD, COMPOSES), "one that a person has renamed is theirs"
        assert new is not None
        assert new.name == "llm"
        assert proven or not ran
    if act is Act.REMOVE_NEW:
        assert new is not None
        assert not new.runs
        assert new.name in ("llm", NEW, COMPOSES)
        assert old is not None or taken or phase is Phase.CREATING
    if act is Act.START_NEW:
        assert old is None or not old.runs, "what holds a GPU's memory has ended"
