"""Evidence of upgrades on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.bench.guard.store import KEPT, UpgradeStore
from aiidpd.kernel.errors import NotFound
from tests.unit.components.bench.guard.test_verdict import UPGRADE, upgrade


def test_what_is_stored_is_read(tmp_path: Path) -> None:
    store = UpgradeStore(tmp_path / "upgrades")
    done = replace(upgrade(1.1), outcome="returned", new_log=("line",))
    store.save(done)
    assert store.load(done.id) == done
    assert store.all() == ([done], [])


def test_the_newest_stay(tmp_path: Path) -> None:
    store = UpgradeStore(tmp_path)
    for at in range(KEPT + 3):
        store.save(replace(UPGRADE, id=store.new_id(1e9 + at), outcome="kept"))
    found, _ = store.all()
    assert len(found) == KEPT
    assert found[-1].id == "20010909T014732Z"


def test_ids_are_new(tmp_path: Path) -> None:
    store = UpgradeStore(tmp_path)
    for _ in range(3):
        store.save(replace(UPGRADE, id=store.new_id(0.0)))
    assert [each.id for each in store.all()[0]] == [
        "19700101T000000Z",
        "19700101T000000Z-2",
        "19700101T000000Z-3",
    ]


def test_one_that_an_earlier_daemon_left_was_interrupted(tmp_path: Path) -> None:
    store = UpgradeStore(tmp_path)
    store.save(UPGRADE)
    assert store.load(UPGRADE.id).outcome == "interrupted"
    store.running = UPGRADE.id
    assert store.load(UPGRADE.id).outcome == "running"


@pytest.mark.parametrize("identity", ["../x", "20261128T000001Z", ""])
def test_what_is_not_there_is_named(tmp_path: Path, identity: str) -> None:
    with pytest.raises(NotFound, match="there is none of this id"):
        UpgradeStore(tmp_path).load(identity)


def test_one_that_can_t_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    store = UpgradeStore(tmp_path)
    store.save(replace(UPGRADE, outcome="kept"))
    (tmp_path / "20261128T000009Z.json").write_text("{")
    found, problems = store.all()
    assert (len(found), len(problems)) == (1, 1)
