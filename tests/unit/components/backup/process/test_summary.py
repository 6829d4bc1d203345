"""Summaries: what they say, and what they read for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aiidpd.components.backup.process import pins, summary_cache
from aiidpd.components.backup.process.results import SummaryResult
from aiidpd.components.backup.process.store import Store
from aiidpd.kernel.errors import Unavailable
from tests.unit.components.backup.process.places import Place, flip, separate


def test_a_summary_has_each_snapshot_and_the_whole(place: Place):
    os.mkfifo(place.source / "pipe")
    first = place.run()
    begun = place.now
    place.verify()
    proven = place.now
    place.write("new", 10)
    second = place.run()
    made = place.now
    assert place.run().unchanged
    pins.add(place.target, first.snapshot, "has it as before")
    found = place.summary()
    old, new = found.snapshots
    assert (old.id, old.created_at, old.files, old.bytes) == (first.snapshot, begun, 3, 300_005)
    assert (old.copied_files, new.copied_files, new.copied_bytes) == (3, 1, 10)
    assert old.left_out == {"pipe": "it is no regular file, folder or symbolic link"}
    assert (old.left_out_total, old.source) == (1, str(place.source))
    assert (old.oldest_proof, old.never_proven_bytes, old.pinned) == (proven, 0, "has it as before")
    assert (old.confirmed_at, new.confirmed_at, new.created_at) == (None, place.now, made)
    assert (new.id, new.oldest_proof, new.never_proven_bytes, new.pinned) == (second.snapshot, proven, 10, "")
    assert (found.target, found.bytes, found.contents) == (first.target, 600_020, 4)
    assert (found.unique_bytes, found.never_proven_bytes, found.oldest_proof) == (300_015, 10, proven)
    assert 0 < found.free < found.room
    assert found.problems == ()


def test_lists_are_read_once(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.run()
    place.write("new", 10)
    place.run()
    first = place.summary()
    read: list[str] = []
    load = Store.load
    monkeypatch.setattr(Store, "load", lambda self, identity: read.append(identity) or load(self, identity))
    assert _facts(place.summary()) == _facts(first)
    assert read == []
    place.write("newer", 10)
    third = place.run().snapshot
    read.clear()
    place.summary()
    assert read == [third]
    summary_cache.drop(place.target)
    place.summary()
    assert len(read) == 4


def _facts(found: SummaryResult) -> object:
    return found.snapshots, found.contents, found.unique_bytes, found.never_proven_bytes


def test_a_summary_without_its_derived_file_is_the_same(place: Place):
    for number in range(6):
        place.write(f"new{number}", 10 + number)
        (place.source / f"new{number - 1}").unlink(missing_ok=True)
        last = place.run().snapshot
        place.verify(mode="due", budget=20)
        found = place.summary()
        summary_cache.drop(place.target)
        assert _facts(found) == _facts(place.summary())
    (place.target / "snapshots" / last).rename(place.target / "gone")
    found = place.summary()
    summary_cache.drop(place.target)
    assert _facts(found) == _facts(place.summary())
    assert len(summary_cache.load(place.target).keys) == found.contents == 8


def test_a_copy_that_is_no_object_counts_by_its_own_proof(place: Place):
    first = place.run().snapshot
    separate(place.file(first, "hub/blobs/abc"))
    assert place.summary().never_proven_bytes == 300_005
    place.verify(mode="due", budget=1)
    place.verify()
    assert place.summary().never_proven_bytes == 0
    assert place.summary().snapshots[0].oldest_proof == place.now


@pytest.mark.usefixtures("no_links")
def test_each_copy_counts_where_there_are_no_links(place: Place):
    place.run()
    place.write("new", 10)
    place.run()
    found = place.summary()
    assert (found.contents, found.unique_bytes, found.never_proven_bytes) == (7, 600_020, 600_020)
    place.verify()
    assert place.summary().never_proven_bytes == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"0\n{}", None])
def test_a_derived_file_that_is_damaged_is_made_again(place: Place, content: bytes | None):
    place.run()
    first = place.summary()
    path = place.target / summary_cache.CACHE
    if content is None:
        flip(path, 8 * 100)
    else:
        path.write_bytes(content)
    assert _facts(place.summary()) == _facts(first)
    assert json.loads(path.read_bytes().split(b"\n")[1])["version"] == 1


def test_what_is_broken_is_said_and_the_rest_is_there(place: Place):
    snapshot = place.run().snapshot
    place.verify()
    place.write("new", 10)
    place.run()
    pins.add(place.target, snapshot, "why")
    (place.target / "snapshots" / snapshot / "manifest.json").unlink()
    for name in ("pins.json", "proofs.json", "aiidpd-backup.json"):
        flip(place.target / name, 80)
    found = place.summary()
    assert [bool(each.broken) for each in found.snapshots] == [True, False]
    assert found.snapshots[1].never_proven_bytes == 300_015
    assert len(found.problems) == 3


def test_an_empty_target_and_one_that_is_gone(place: Place, tmp_path: Path):
    assert place.summary().snapshots == ()
    assert place.summary().oldest_proof is None
    place.target = tmp_path / "none"
    with pytest.raises(Unavailable):
        place.summary()
