"""The journal of re-creations outlives the process, and a damaged file is left as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.containers.recreate.journal import NAME, RecreationJournal
from aiidpd.components.containers.recreate.state import Phase, Recreation, is_temporary
from aiidpd.platform.statefile import StateUnreadable

ENTRY = Recreation("a" * 64, "llm", "1f", Phase.CREATING, True, 5.0, 1.0, "first", selectors=("x=y",))


def journal(folder: Path) -> RecreationJournal:
    found = RecreationJournal(folder / NAME)
    found.load()
    return found


def test_an_entry_is_there_until_it_is_ended(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.saving(ENTRY)()
    first.saving(replace(ENTRY, phase=Phase.SWAPPING, new="b"))()
    (found,) = journal(tmp_path).active
    assert found == replace(ENTRY, phase=Phase.SWAPPING, new="b")
    assert (is_temporary(found.old_name), is_temporary(found.new_name), is_temporary("llm")) == (
        True,
        True,
        False,
    )
    first.ending(found)()
    assert not (tmp_path / NAME).exists()


def test_successors_of_successors_are_found_and_their_number_is_bounded(tmp_path: Path) -> None:
    found = journal(tmp_path)
    for number in range(300):
        found.saving(replace(ENTRY, old=f"other{number}"))
        found.ending(replace(ENTRY, old=f"other{number}"), f"new{number}")()
    found.ending(replace(ENTRY, old="a"), "b")()
    found.ending(replace(ENTRY, old="b"), "c")()
    successors = journal(tmp_path).successors
    assert (successors["a"], successors["b"], len(successors)) == ("c", "c", 200)


def test_a_damaged_file_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"version": 1, "active": [{}]}')
    with pytest.raises(StateUnreadable, match="docker ps -a --filter name=-aiidpd-"):
        journal(tmp_path)
    (tmp_path / NAME).write_text(
        '{"version": 1, "active": [{"old": "", "name": "x", "token": "x", "phase": "creating", "ran": true,'
        ' "grace": 1, "at": 1, "run": "", "new": "", "selectors": []}], "successors": []}'
    )
    with pytest.raises(StateUnreadable, match="must not be empty"):
        journal(tmp_path)
