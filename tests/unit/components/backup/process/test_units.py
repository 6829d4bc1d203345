"""Contents of a target to be read: one for each that lies there, with all that has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiidpd.components.backup.process.proofs import Proofs, unit_key
from aiidpd.components.backup.process.units import Survey, read_lists, survey
from tests.unit.components.backup.process.places import Place, separate


def look(place: Place, proofs: Proofs | None = None, only: str = "") -> Survey:
    return survey(place.store, proofs or Proofs(), lambda: None, only)


def test_each_object_is_one_content_however_many_snapshots_have_it(place: Place):
    place.run()
    begun = place.now
    place.write("new", 10)
    place.write("copy", b"{}")
    place.run()
    found = look(place)
    assert set(found.units) == {path.name for path in place.objects()}
    assert sorted((unit.names, unit.size, unit.since) for unit in found.units.values()) == [
        (1, 10, place.now),
        (2, 3, begun),
        (2, 300_000, begun),
        (3, 2, begun),
    ]
    assert (found.wrong, found.absent, found.broken, found.flaws, found.own) == ([], {}, {}, {}, {})


def test_a_file_that_is_no_object_is_a_content_of_its_own(place: Place):
    first = place.run().snapshot
    place.write("new", 10)
    second = place.run().snapshot
    separate(place.file(second, "hub/blobs/abc"))
    os.link(place.file(second, "hub/blobs/abc"), place.target / "elsewhere")
    sha256 = read_lists(place.store, first).hashes["hub/blobs/abc"]
    key = unit_key(sha256, f"{second}/hub/blobs/abc")
    found = look(place, Proofs({sha256: 5.0, key: 7.0}, {key: "bad"}))
    units = [unit for unit in found.units.values() if unit.sha256 == sha256]
    assert [(unit.key, unit.names, unit.proven_at) for unit in units] == [(sha256, 1, 5.0), (key, 1, 7.0)]
    assert all(unit.suspect for unit in units)  # of one content, a copy was damaged
    assert units[1].file == f"snapshots/{second}/files/hub/blobs/abc"
    assert (found.own, found.shared) == ({second: 1}, True)


def test_a_proof_under_a_name_that_is_gone_is_found_under_another(place: Place):
    """Two snapshots share a file that is no object; the older one, whose name the proof has, is removed."""
    first = place.run().snapshot
    place.write("new", 10)
    second = place.run().snapshot
    sha256 = read_lists(place.store, first).hashes["hub/blobs/abc"]
    place.store.object_path(sha256).unlink()
    keys = [unit_key(sha256, f"{each}/hub/blobs/abc") for each in (first, second)]
    found = look(place, Proofs({keys[1]: 3.0}))
    assert [unit.key for unit in found.units.values() if unit.sha256 == sha256] == [keys[0]]
    assert found.units[keys[0]].proven_at == 3.0
    assert found.absent == {sha256: keys[0]}


def test_only_the_contents_of_one_snapshot(place: Place):
    first = place.run().snapshot
    place.write("new", 10)
    place.run()
    assert len(look(place, only=first).units) == 3
    assert len(look(place).units) == 4


@pytest.mark.parametrize("name", ["objects/ab/stray.tmp", "objects/abc", f"objects/ab/{'0' * 64}"])
def test_what_is_no_object_is_named(place: Place, name: str):
    place.run()
    stray = place.target / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"?")
    found = look(place)
    assert [(each.path, each.reason) for each in found.wrong] == [(name, "no content belongs there")]


def test_a_folder_without_lists_is_broken(place: Place):
    place.run()
    (place.target / "snapshots" / "20270101T000000Z" / "files").mkdir(parents=True)
    (place.target / "snapshots" / "20270101T000000Z" / "files" / "some").write_bytes(b"?")
    found = look(place)
    assert found.broken == {"20270101T000000Z": "manifest.json: No such file or directory"}
    assert found.wrong == []


def test_a_listing_never_follows_a_link_out_of_the_target(place: Place, tmp_path: Path):
    snapshot = place.run().snapshot
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "blobs").mkdir()
    place.file(snapshot, "hub").rename(tmp_path / "hub")
    place.file(snapshot, "hub").symlink_to(outside)
    reasons = {(each.path.split("files/")[1], each.reason) for each in look(place).wrong}
    missing = ("hub", "hub/blobs", "hub/blobs/abc", "hub/snapshots", "hub/snapshots/model")
    assert reasons == {("hub", "no list names it"), *((path, "it is missing") for path in missing)}
