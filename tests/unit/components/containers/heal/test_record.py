"""Budgets and unfinished heals on the disk, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from aiidpd.components.containers.heal.record import LIMIT, NAME, HealRecord, HealRecords, records, restored
from aiidpd.components.containers.heal.state import (
    Fault,
    Heal,
    HealPhase,
    HealState,
    LastHeal,
    Outcome,
    Parked,
    Suspension,
    Track,
)
from aiidpd.contracts.messages import Cure
from aiidpd.platform.statefile import StateFile, StateUnreadable

NOW = 1_800_000_000.0
HEAL = Heal(
    "c1", "vllm", Fault("engine_hung", "x" * 9000, Cure.RESTART, 5.0, True, {"log": "secret", "steps": 7}),
    Cure.RESTART, NOW - 5, NOW - 900, HealPhase.ACTING, None, "", "i-1",
)  # fmt: skip
TRACK = Track(
    "c1", "vllm", NOW - 900, 3, True, (NOW - 60, NOW - 5), (NOW - 70,), 1, NOW + 30, "", True, True,
    Parked("engine_hung", "spent", "unpark", NOW - 1, True), HEAL,
    LastHeal("engine_hung", Cure.RECREATE, Outcome.FAILED, "why", NOW - 50, 9.0, "i-0"),
)  # fmt: skip


def state(*tracks: Track) -> HealState:
    suspended = {"db": Suspension("db", NOW, None, "ada"), "web": Suspension("web", NOW, NOW + 60, "bob")}
    return HealState(MappingProxyType({each.id: each for each in tracks}), MappingProxyType(suspended))


def test_what_counts_comes_back(tmp_path: Path) -> None:
    file = StateFile(tmp_path / NAME, HealRecords)
    file.save(records(state(TRACK, Track("c2", "calm"))))
    loaded = file.load()
    assert loaded is not None
    found = restored(loaded, NOW, 600.0)
    assert found.tracks.keys() == {"c1"}, "of one that was never healed there is nothing to remember"
    track = found.tracks["c1"]
    assert (track.heals, track.deaths, track.failures) == (TRACK.heals, TRACK.deaths, 1)
    assert (track.owed, track.awaiting, track.restart_count) == (True, True, 3)
    assert track.parked == TRACK.parked
    assert track.last == TRACK.last
    assert track.heal is not None
    assert (track.heal.phase, track.heal.started_at) == (HealPhase.ACTING, NOW - 900)
    assert found.suspended == state().suspended


def test_reasons_are_bounded_and_evidence_of_words_is_left_out() -> None:
    (record,) = records(state(TRACK)).containers
    assert record.heal is not None
    assert len(record.heal.fault.reason) == 500
    assert record.heal.fault.evidence == {"steps": 7}


def test_a_heal_that_has_touched_nothing_need_not_be_finished() -> None:
    (record,) = records(state(replace(TRACK, heal=replace(HEAL, phase=HealPhase.PREPARING)))).containers
    assert record.heal is None


def test_stamps_from_the_future_count_as_of_now() -> None:
    ahead = replace(TRACK, heals=(NOW + 1e6,), next_at=NOW + 1e9)
    track = restored(records(state(ahead)), NOW, 600.0).tracks["c1"]
    assert track.heals == (NOW,)
    assert track.next_at == NOW + 600


def test_a_thousand_containers_fit_into_the_file(tmp_path: Path) -> None:
    many = [replace(TRACK, id=f"{number:064x}", name=f"container-{number}") for number in range(1500)]
    found = records(state(*many))
    assert len(found.containers) == 1000
    StateFile(tmp_path / NAME, HealRecords, limit=LIMIT).save(found)


def test_a_file_with_an_id_twice_is_refused(tmp_path: Path) -> None:
    file = StateFile(tmp_path / NAME, HealRecords)
    (record,) = records(state(TRACK)).containers
    assert isinstance(record, HealRecord)
    with pytest.raises(OSError, match="twice"):
        file.save(HealRecords(1, (record, record), ()))
    (tmp_path / NAME).write_text("[]")
    with pytest.raises(StateUnreadable):
        file.load()
