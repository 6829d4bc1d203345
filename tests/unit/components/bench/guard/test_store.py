"""Evidence of upgrades on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aiidpd.components.bench.guard.store import UpgradeStore
from tests.unit.components.bench.guard.test_verdict import UPGRADE, upgrade


def test_what_is_stored_is_read(tmp_path: Path) -> None:
    store = UpgradeStore(tmp_path / "upgrades")
    done = replace(upgrade(1.1), outcome="returned", new_log=("line",))
    store.save(done)
    assert store.load(done.id) == done
    assert store.all() == ([done], [])


def test_one_that_an_earlier_daemon_left_was_interrupted(tmp_path: Path) -> None:
    store = UpgradeStore(tmp_path)
    store.save(UPGRADE)
    assert store.load(UPGRADE.id).outcome == "interrupted"
    store.running = UPGRADE.id
    assert store.load(UPGRADE.id).outcome == "running"
