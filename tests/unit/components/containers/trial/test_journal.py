"""Journal of trials: what an earlier process left goes back, but one that was about to be kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.containers.trial.journal import NAME, TrialJournal
from aiidpd.components.containers.trial.state import Phase
from aiidpd.platform.statefile import StateUnreadable
from tests.unit.components.containers.trial.world import ENTRY


@pytest.mark.parametrize("phase", Phase)
def test_what_was_left_is_taken_up(tmp_path: Path, phase: Phase) -> None:
    TrialJournal(tmp_path / NAME).saving(replace(ENTRY, phase=phase, stopped=True))()
    (found,) = TrialJournal(tmp_path / NAME).load()
    assert found.phase is (Phase.KEEPING if phase is Phase.KEEPING else Phase.RETURNING)
    assert found.reason == ("the daemon ended in the middle" if phase is Phase.TRYING else "")
    assert found.stopped


def test_nothing_is_left_of_one_that_has_ended(tmp_path: Path) -> None:
    journal = TrialJournal(tmp_path / NAME)
    journal.load()
    journal.saving(ENTRY)()
    journal.ending(ENTRY)()
    assert (journal.active, list(tmp_path.iterdir())) == ((), [])


@pytest.mark.parametrize("text", ["{", '{"version": 2}', '{"version": 1, "active": [{}]}'])
def test_one_that_can_t_be_read_stays_where_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(StateUnreadable, match="docker ps"):
        TrialJournal(tmp_path / NAME).load()
    assert (tmp_path / NAME).read_text() == text
