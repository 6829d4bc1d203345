"""Comparison of the source with what was backed up: rot is told apart from an edit, and never copied."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from aiidpd.components.backup.process.manifest import SUMS, Manifest, dump_manifest, dump_sums, sums_of
from aiidpd.components.backup.process.proofs import read_proofs
from tests.unit.components.backup.process.places import EARLY, Place, flip


def rot(place: Place, snapshot: str, paths: list[str]) -> None:
    """Flip a bit of files of the source, as a failing disk does.

    A disk does so without the file system's knowledge. That can't be done under one that is mounted, and no
    call sets a ctime: so the ctime of the snapshot's list is made that of the flipped file.
    """
    for number, path in enumerate(paths):
        flip(place.source / path, number)
    agree(place, snapshot)


def agree(place: Place, snapshot: str) -> None:
    """Make the ctime of each file in a snapshot's list that of the source's file as it is now."""
    folder = place.target / "snapshots" / snapshot
    manifest = place.store.load(snapshot)
    files = tuple(
        replace(file, ctime_ns=(place.source / file.path).stat().st_ctime_ns) for file in manifest.files
    )
    _write(folder, replace(manifest, files=files))


def _write(folder: Path, manifest: Manifest) -> None:
    listed = dump_manifest(manifest)
    for name, data in (("manifest.json", listed), (SUMS, dump_sums(sums_of(manifest, listed)))):
        (folder / name).unlink()
        (folder / name).write_bytes(data)


def test_a_hundred_rotten_files_are_named_and_no_good_copy_is_overwritten(place: Place):
    paths = [f"many/{number}" for number in range(100)]
    good = {path: place.write(path, 500 + number) for number, path in enumerate(paths)}
    first = place.run().snapshot
    place.run()  # unchanged: the first stands for it
    rot(place, first, paths)
    result = place.verify(source_budget=10**9)
    assert set(result.rotten) == set(paths)
    assert result.rotten_total == 100
    assert result.source_files == 103
    assert result.whole  # of the target
    for number in range(4):  # runs that see no change, a touched file, one with a new time, all of them new
        place.write("new", number + 1)
        for path in paths[:number] if number < 3 else paths:
            os.utime(place.source / path, (EARLY, EARLY))
        if number == 2:
            os.utime(place.source / paths[50], (EARLY + 9, EARLY + 9))
        run = place.run()
        assert set(run.rotten) == set(paths), number
        assert run.rewritten == ()
        for path in paths:
            assert place.file(run.snapshot, path).read_bytes() == good[path], (number, path)
            assert place.file(first, path).read_bytes() == good[path]
        place.verify(mode="due", budget=1, source_budget=10**9)
    assert place.verify(source_budget=10**9).rotten_total == 100


def test_an_edit_is_no_rot(place: Place):
    place.run()
    place.write("config.json", b"{1}")
    (place.source / "hub/blobs/abc").chmod(0o600)
    (place.source / "odd").symlink_to("config.json")
    result = place.verify(source_budget=10**9)
    assert (result.rotten_total, result.source_files, result.source_skipped) == (0, 1, 2)
    assert place.run().copied_files == 1


def test_rot_that_was_found_and_made_good_is_forgotten(place: Place):
    data = place.write("model", 1000)
    snapshot = place.run().snapshot
    rot(place, snapshot, ["model"])
    assert set(place.verify(source_budget=10**9).rotten) == {"model"}
    place.write("model", data)
    assert place.run().rotten == {}
    assert place.verify(source_budget=10**9).rotten == {}


def test_files_are_read_in_turn_within_a_budget(place: Place):
    for number in range(9):
        place.write(f"many/{number}", 100)
    place.run()
    place.verify(source_budget=10**9)
    first = read_proofs(place.target)[0].checked
    assert len(first) == 12
    for _ in range(12):
        place.verify(mode="due", budget=1, source_budget=1)
    checked = read_proofs(place.target)[0].checked
    assert len(set(checked.values())) == 12
    assert min(checked.values()) > max(first.values())


def test_no_source_is_read_unless_that_is_requested(place: Place):
    place.run()
    assert place.verify().source_files == 0
    (place.source / "config.json").unlink()
    result = place.verify(source_budget=10**9)
    assert (result.source_files, result.source_skipped) == (2, 1)
