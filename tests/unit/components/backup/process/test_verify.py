"""Whole verifications on real files: what they find, what they record, and what they leave alone."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aiidpd.components.backup.process import pins
from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.findings import MOST_NAMED
from aiidpd.components.backup.process.proofs import read_proofs
from aiidpd.components.backup.process.results import VerifyResult
from aiidpd.kernel.errors import NotFound, Unavailable
from tests.forms import short_and_long
from tests.unit.components.backup.process.places import Place, flip, separate


def named(result: VerifyResult) -> set[str]:
    """Return the paths that a result names, whatever became of them."""
    broken = {f"snapshots/{snapshot}/manifest.json" for snapshot in result.broken}
    return {each.path for each in (*result.damaged, *result.healed)} | broken


def test_what_is_right_is_proven_and_nothing_is_named(place: Place):
    snapshot = place.run().snapshot
    result = place.verify()
    assert result.whole
    assert named(result) == set()
    assert (result.contents, result.read_contents) == (3, 3)
    assert result.bytes == result.read_bytes == 300_005
    assert (result.oldest_proof, result.never_proven_bytes) == (place.now, 0)
    assert set(read_proofs(place.target)[0].proven) == {path.name for path in place.objects()}
    assert place.agrees(snapshot)


def test_what_a_run_writes_or_links_is_proven_by_no_run(place: Place):
    place.run()
    assert place.summary().snapshots[0].never_proven_bytes == 300_005
    assert place.verify(mode="due", budget=1).read_contents == 1
    proven = place.now
    place.write("new", 1000)
    place.run()
    summary = place.summary()
    assert [each.oldest_proof for each in summary.snapshots] == [proven, proven]
    old, new = summary.snapshots
    assert new.never_proven_bytes == old.never_proven_bytes + 1000


def test_what_is_linked_counts_as_verified_only_as_of_the_day_on_which_it_was_read(place: Place):
    """Rot in a stored copy spreads no more, and is counted as proven no more once it was found."""
    first = place.run().snapshot
    place.verify()
    day = place.now
    flip(place.file(first, "hub/blobs/abc"), 7)
    place.write("new", b"new")
    second = place.run().snapshot  # links what nobody has read since
    old, new = place.summary().snapshots
    assert (old.oldest_proof, new.oldest_proof) == (day, day)
    assert (old.never_proven_bytes, new.never_proven_bytes) == (0, 3)
    result = place.verify(heal=False)
    assert named(result) == {
        f"snapshots/{first}/files/hub/blobs/abc",
        f"snapshots/{second}/files/hub/blobs/abc",
        next(
            f"objects/{path.parent.name}/{path.name}" for path in place.objects() if path.stat().st_size > 999
        ),
    }
    assert {each.snapshot for each in result.damaged} == {first, second, ""}
    assert not result.whole
    assert place.summary().snapshots[1].never_proven_bytes == 300_000
    assert [each.damaged for each in place.summary().snapshots] == [1, 1]
    place.write("newer", b"newer")
    third = place.run()
    assert place.agrees(third.snapshot)  # it was copied from the source, and not linked
    assert third.read_bytes == 2 * 300_000 + 5
    assert not place.agrees(second)
    assert place.summary().snapshots[2].never_proven_bytes == 300_005
    healed = place.verify()
    assert healed.whole
    assert {each.snapshot for each in healed.healed} == {first, second}
    assert all(map(place.agrees, (first, second, third.snapshot)))


@short_and_long("count", 100, 1000)
def test_a_flipped_bit_is_found_wherever_it_is(place: Place, count: int):
    """In objects, snapshots' own files, lists, proofs, pins, note and marker: each is found and named."""
    first = place.run().snapshot
    place.write("new", 2000)
    place.run()
    separate(place.file(first, "hub/blobs/abc"))
    separate(place.file(first, "config.json"))
    place.verify()
    pins.add(place.target, first, "has it as before")
    everything = [
        path
        for path in sorted(place.target.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name not in (".lock", "summary.json")
    ]
    assert {path.relative_to(place.target).parts[0] for path in everything} == {
        *("objects", "snapshots", "proofs.json", "pins.json", "unchanged.json", "aiidpd-backup.json")
    }
    numbers = random.Random(count)
    missed = []
    for _ in range(count):
        path = numbers.choice(everything)
        content = path.read_bytes()
        bit = numbers.randrange(len(content) * 8)
        flip(path, bit)
        result = place.verify(heal=False)
        if str(path.relative_to(place.target)) not in {
            os.fsdecode(each) for each in _raw(named(result), path)
        }:
            missed.append((path, bit, result))
        _put_back(path, content)
    assert missed == []


def _raw(names: set[str], path: Path) -> set[str]:
    """Return ``names``, which are for people, with the one that is not UTF-8 as the system has it."""
    odd = str(path) if path.name.isprintable() else ""
    return {name if "odd" not in name or odd else name.rpartition("/")[0] + "/" + path.name for name in names}


def _put_back(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode & 0o7777
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    path.chmod(mode)


def test_each_name_in_a_snapshot_is_compared_with_its_list(place: Place):
    snapshot = place.run().snapshot
    (place.file(snapshot, "stranger")).write_bytes(b"?")
    place.file(snapshot, "config.json").unlink()
    place.file(snapshot, "empty").rmdir()
    link = place.file(snapshot, "hub/snapshots/model")
    link.unlink()
    link.symlink_to("elsewhere")
    separate(place.file(snapshot, "hub/blobs/abc"))
    place.file(snapshot, "hub/blobs/abc").chmod(0o600)  # it is read-only, which binds whoever is not root
    os.truncate(place.file(snapshot, "hub/blobs/abc"), 10)
    result = place.verify(heal=False)
    reasons = {each.path.split("files/")[1]: each.reason for each in result.damaged}
    assert reasons == {
        "stranger": "no list names it",
        "config.json": "it is missing",
        "empty": "it is missing",
        "hub/snapshots/model": "it leads to elsewhere, not to ../blobs/abc",
        "hub/blobs/abc": "it has 10 bytes, not 300000",
    }
    assert result.missing_total == 2
    healed = place.verify()
    assert {each.path.split("files/")[1] for each in healed.damaged} == {"stranger"}
    assert healed.healed_total == 4
    assert place.agrees(snapshot)
    assert str(link.readlink()) == "../blobs/abc"


def test_a_sums_list_is_written_anew_where_the_manifest_is_proven(place: Place):
    snapshot = place.run().snapshot
    sums = place.target / "snapshots" / snapshot / "SHA256SUMS"
    right = sums.read_bytes()
    for bit in (8, len(right) * 8 - 100, len(right) * 8 - 600):
        flip(sums, bit)
        result = place.verify()
        assert [each.path for each in result.healed] == [f"snapshots/{snapshot}/SHA256SUMS"], bit
        assert sums.read_bytes() == right


def test_a_snapshot_with_a_damaged_manifest_is_broken_and_its_contents_are_still_read(place: Place):
    snapshot = place.run().snapshot
    manifest = place.target / "snapshots" / snapshot / "manifest.json"
    flip(manifest, manifest.read_bytes().index(b'"size": 300000') * 8 + 8 * 8)
    separate(place.file(snapshot, "hub/blobs/abc"))
    flip(place.file(snapshot, "hub/blobs/abc"), 5)
    result = place.verify(heal=False)
    assert snapshot in result.broken
    assert [each.path for each in result.damaged] == [f"snapshots/{snapshot}/files/hub/blobs/abc"]
    assert not result.whole
    assert place.store.listed(snapshot).manifest is None


def test_damage_beyond_a_number_is_counted_and_not_named(place: Place):
    for number in range(MOST_NAMED):
        place.write(f"many/{number}", 10)
    snapshot = place.run().snapshot
    for number in range(MOST_NAMED):
        flip(place.file(snapshot, f"many/{number}"), number % 80)
    result = place.verify(heal=False)
    assert len(result.damaged) == MOST_NAMED
    assert result.damaged_total == 2 * MOST_NAMED


def test_a_cancelled_verification_has_proven_what_it_read(
    place: Place, at_file: Callable[[int, Callable[[], None]], Control]
):
    for number in range(20):
        place.write(f"many/{number}", 100)
    place.run()
    control = at_file(7, lambda: setattr(control, "cancelled", True))
    with pytest.raises(Cancelled):
        place.verify(control)
    assert len(read_proofs(place.target)[0].proven) == 7
    assert place.verify(mode="due", budget=1).read_contents == 1
    assert len(read_proofs(place.target)[0].proven) == 8


def test_every_content_is_read_again_in_time_by_requests_that_read_what_is_due(place: Place):
    for number in range(20):
        place.write(f"many/{number}", 10_000)
    place.run()
    place.source.joinpath("many/1").unlink()
    place.run()
    read = [place.verify(mode="due", within=10 * 3600.0, every=3600.0) for _ in range(30)]
    assert sum(each.read_bytes for each in read) <= 4 * read[0].bytes
    assert all(each.oldest_proof is not None and not each.never_proven_bytes for each in read[10:])
    times = read_proofs(place.target)[0].proven.values()
    assert place.now - min(times) <= 10 * 3600


def test_a_sample_is_a_share_of_the_bytes_and_another_one_next_time(place: Place):
    for number in range(50):
        place.write(f"many/{number}", 10_000)
    place.run()
    results = [place.verify(mode="sample", share=0.1, seed=seed) for seed in range(8)]
    assert all(each.read_bytes >= each.bytes // 10 for each in results)
    assert len(read_proofs(place.target)[0].proven) > max(each.read_contents for each in results)


def test_one_snapshot_is_verified_alone(place: Place):
    first = place.run().snapshot
    place.write("new", 5000)
    place.run()
    result = place.verify(snapshot=first)
    assert (result.contents, result.bytes) == (3, 300_005)
    with pytest.raises(NotFound):
        place.verify(snapshot="20200101T000000Z")


def test_an_unmounted_target_is_refused(place: Place):
    place.run()
    with pytest.raises(Unavailable, match="another target"):
        place.verify(expected="other")
    (place.target / "aiidpd-backup.json").unlink()
    with pytest.raises(Unavailable, match="not the folder that holds the snapshots"):
        place.verify(expected="other")
    for entry in place.target.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    with pytest.raises(Unavailable, match="it holds no snapshots"):
        place.verify()


def test_a_target_from_before_there_were_marks_and_objects_is_verified(place: Place):
    snapshot = place.run().snapshot
    shutil.rmtree(place.target / "objects")
    (place.target / "aiidpd-backup.json").unlink()
    result = place.verify()
    assert (result.target, result.whole, result.contents) == ("", True, 3)
    place.file(snapshot, "config.json").unlink()
    assert place.verify().healed_total == 1
    assert place.agrees(snapshot)


def test_no_content_is_blamed_where_the_whole_target_is_gone(
    place: Place, at_file: Callable[[int, Callable[[], None]], Control]
):
    place.run()
    gone = place.target.with_name("gone")
    with pytest.raises(Unavailable):
        place.verify(at_file(1, lambda: place.target.rename(gone) and None))
    gone.rename(place.target)
    assert read_proofs(place.target)[0].damaged == {}


@pytest.mark.usefixtures("no_links")
def test_each_copy_on_a_target_without_links_is_read_and_healed_on_its_own(place: Place):
    first = place.run().snapshot
    place.write("new", 1000)
    second = place.run().snapshot
    assert place.objects() == []
    result = place.verify()
    assert (result.contents, result.bytes) == (7, 601_010)
    flip(place.file(first, "hub/blobs/abc"), 99)
    place.write("hub/blobs/abc", b"the source has another one now")
    result = place.verify()
    assert [(each.path, each.healed_from) for each in result.healed] == [
        (f"snapshots/{first}/files/hub/blobs/abc", f"snapshots/{second}/files/hub/blobs/abc")
    ]
    assert result.whole
    assert place.agrees(first)
    assert (place.file(first, "hub/blobs/abc").stat().st_ino) != (
        place.file(second, "hub/blobs/abc").stat().st_ino
    )
    assert place.verify(mode="due", budget=1).never_proven_bytes == 0
