"""Healing: from where, in which order, what it never does, and what a kill leaves."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.protocol import decode_line, encode
from aiidpd.components.backup.process.requests import VerifyRequest
from tests.forms import short_and_long
from tests.unit.components.backup.process.places import EARLY, Place, flip, separate

MODEL = "hub/blobs/abc"


def test_a_flipped_object_is_healed_from_the_source(place: Place):
    first = place.run().snapshot
    place.write("new", 10)
    second = place.run().snapshot
    damaged = place.file(first, MODEL)
    before = damaged.stat()
    flip(damaged, 1234)
    bad = damaged.read_bytes()
    result = place.verify()
    assert result.whole
    assert {each.healed_from for each in result.healed} == {str(place.source / MODEL)}
    assert [each.snapshot for each in result.healed] == [second, first, ""]
    assert all(map(place.agrees, (first, second)))
    after = damaged.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 3)
    assert after.st_ino != before.st_ino
    (aside,) = result.quarantined
    assert (place.target / aside).read_bytes() == bad
    assert list((place.target / "incomplete").iterdir()) == []
    assert place.verify(mode="due", budget=0, within=1e9).never_proven_bytes == 0
    assert place.run().unchanged


def test_a_flipped_object_is_healed_from_another_snapshot_where_the_source_has_changed(place: Place):
    first = place.run().snapshot
    place.write("new", 10)
    second = place.run().snapshot
    separate(place.file(second, MODEL))
    flip(place.file(first, MODEL), 5)
    place.write(MODEL, 300_000)
    result = place.verify()
    assert {each.healed_from for each in result.healed} == {f"snapshots/{second}/files/{MODEL}"}
    assert result.whole
    assert all(map(place.agrees, (first, second)))


def test_nothing_is_healed_where_no_other_copy_proves_right(place: Place):
    """The source was changed, as its time says, or only its bytes; the other snapshot's is damaged too."""
    first = place.run().snapshot
    place.write("new", 10)
    second = place.run().snapshot
    separate(place.file(second, MODEL))
    flip(place.file(second, MODEL), 6)
    flip(place.file(first, MODEL), 5)
    for changed in (EARLY, EARLY + 1):
        place.write(MODEL, 300_000)
        os.utime(place.source / MODEL, (changed, changed))
        held = [place.file(each, MODEL).read_bytes() for each in (first, second)]
        result = place.verify()
        assert result.healed == ()
        assert {each.snapshot for each in result.damaged} == {first, second, ""}
        assert all("no other good copy was found" in each.reason for each in result.damaged)
        assert held == [place.file(each, MODEL).read_bytes() for each in (first, second)]
        assert result.quarantined == ()
    shutil.rmtree(place.source)
    assert not place.verify().whole


def test_what_a_verification_may_not_heal_stays_as_it_is(place: Place):
    snapshot = place.run().snapshot
    flip(place.file(snapshot, MODEL), 5)
    held = place.file(snapshot, MODEL).read_bytes()
    assert place.verify(heal=False).damaged_total == 2
    assert place.file(snapshot, MODEL).read_bytes() == held
    assert not (place.target / "quarantine").exists()


def test_a_missing_file_and_a_missing_object_come_back(place: Place):
    snapshot = place.run().snapshot
    place.file(snapshot, MODEL).unlink()
    (unlinked,) = (path for path in place.objects() if path.stat().st_size == 2)
    unlinked.unlink()
    result = place.verify()
    assert result.whole
    assert {each.path.split("/")[0]: each.reason for each in result.healed} == {
        "snapshots": "it is missing",
        "objects": "it is missing, so that the next run would copy its content again",
    }
    assert place.agrees(snapshot)
    assert unlinked.stat().st_nlink == place.file(snapshot, MODEL).stat().st_nlink == 2
    shutil.rmtree(place.target / "snapshots" / snapshot / "files")
    assert place.verify().whole
    assert place.agrees(snapshot)
    shutil.rmtree(place.target / "snapshots" / snapshot / "files")
    shutil.rmtree(place.target / "objects")
    assert place.verify().whole
    assert place.agrees(snapshot)


def test_a_name_that_something_else_has_is_named(place: Place):
    snapshot = place.run().snapshot
    path = place.file(snapshot, "config.json")
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    result = place.verify()
    assert [(each.path, each.reason) for each in result.damaged] == [
        (f"snapshots/{snapshot}/files/config.json", "it is missing; not healed: Is a directory")
    ]


def test_a_damaged_object_is_no_longer_linked_and_snapshots_with_it_are_healed_by_what_a_run_brings(
    place: Place,
):
    first = place.run().snapshot
    flip(place.file(first, MODEL), 5)
    hidden = place.source.with_name("hidden")
    place.source.rename(hidden)
    assert not place.verify().whole
    hidden.rename(place.source)
    os.utime(place.source / MODEL, (EARLY + 5, EARLY + 5))  # so that healing does not find it there
    second = place.run()
    assert place.agrees(second.snapshot)
    assert second.copied_bytes == 300_000
    assert not place.agrees(first)
    assert [each.damaged for each in place.summary().snapshots] == [1, 0]
    assert place.verify(mode="sample", share=0.0).whole
    assert place.agrees(first)
    assert [each.damaged for each in place.summary().snapshots] == [0, 0]


@short_and_long("kills", 6, 100)
def test_a_kill_while_it_heals_leaves_the_damaged_or_the_good_file_under_each_name(place: Place, kills: int):
    """The process itself, killed at random moments after it began to heal; then one that may finish."""
    good = {f"many/{number}": place.write(f"many/{number}", 2000 + number) for number in range(40)}
    first = place.run().snapshot
    place.write("new", 10)
    second = place.run().snapshot
    numbers = random.Random(kills)
    unfinished = 0
    for _ in range(kills):
        for path in numbers.sample(sorted(good), 25):
            name = place.file(numbers.choice((first, second)), path)
            if name.read_bytes() == good[path]:
                flip(name, numbers.randrange(16_000))
        bad = {path: {place.file(each, path).read_bytes() for each in (first, second)} for path in good}
        _kill_while_it_heals(place, numbers.uniform(0.0, 0.15))
        for path, content in good.items():
            for snapshot in (first, second):
                assert place.file(snapshot, path).read_bytes() in {content, *bad[path]}
        unfinished += not (place.agrees(first) and place.agrees(second))
    assert unfinished
    assert place.verify().whole
    assert place.agrees(first)
    assert place.agrees(second)
    assert place.verify().healed_total == 0
    assert list((place.target / "incomplete").iterdir()) == []


def _kill_while_it_heals(place: Place, seconds: float) -> None:
    command = [sys.executable, "-m", "aiidpd.components.backup.process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode(VerifyRequest(str(place.target))))
        process.stdin.flush()
        for line in process.stdout:
            progress = decode_line(line).progress
            if progress is None or progress.phase == "healing":
                break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)


def test_names_and_links_of_a_snapshot_are_made_again_or_the_reason_is_returned(place: Place):
    snapshot = place.run().snapshot
    link = place.file(snapshot, "hub/snapshots/model")
    link.unlink()
    link.mkdir()
    (link / "in the way").mkdir()
    result = place.verify()
    assert [each.path for each in result.damaged] == [
        f"snapshots/{snapshot}/files/hub/snapshots/model",
    ]


def test_nothing_is_written_or_linked_through_a_symbolic_link(place: Place, tmp_path: Path):
    """A folder of a snapshot was replaced by a link to the source: its files are no copies of ours."""
    snapshot = place.run().snapshot
    outside = tmp_path / "outside"
    outside.mkdir()
    hub = place.file(snapshot, "hub")
    shutil.rmtree(hub)
    for target in (outside, place.source / "hub"):
        hub.symlink_to(target)
        (unlinked,) = (path for path in place.objects() if path.stat().st_size > 99)
        result = place.verify()
        assert list(outside.iterdir()) == []
        assert {each.path.split("files/")[1] for each in result.damaged} >= {"hub", "hub/blobs/abc"}
        assert unlinked.stat().st_nlink == (place.source / "hub/blobs/abc").stat().st_nlink == 1
        hub.unlink()
    assert place.verify().whole
    assert place.agrees(snapshot)


def test_a_content_that_the_disk_no_longer_reads_is_healed_too(place: Place, monkeypatch: pytest.MonkeyPatch):
    """A sector that is gone: every read of the file fails, by whatever name, and no other file's does."""
    snapshot = place.run().snapshot
    bad = place.file(snapshot, MODEL).stat().st_ino
    digest_many = Copier.digest_many

    def fail(self: Copier, jobs: Iterable[tuple[Path, str]]) -> Iterator[Any]:
        found = list(jobs)
        lost = [each for each in found if each[0].stat().st_ino == bad]
        for each in lost:
            yield each, target_fault(each[1], OSError(errno.EIO, os.strerror(errno.EIO)))
        yield from digest_many(self, [each for each in found if each not in lost])

    monkeypatch.setattr(Copier, "digest_many", fail)
    result = place.verify()
    assert result.whole
    assert {each.reason for each in result.healed} == {"Input/output error"}
    assert place.file(snapshot, MODEL).stat().st_ino != bad
    assert place.agrees(snapshot)


def test_healing_that_finds_no_room_is_named_and_leaves_all_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    snapshot = place.run().snapshot
    flip(place.file(snapshot, MODEL), 5)
    held = place.file(snapshot, MODEL).read_bytes()

    def fail(*_: object) -> tuple[str, int]:
        raise target_fault(MODEL, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    with monkeypatch.context() as patched:
        patched.setattr(Copier, "pump", fail)
        patched.setattr(Copier, "digest", lambda *_: ("0" * 64, 1))
        result = place.verify()
    assert any("its file system is full" in each.reason for each in result.damaged)
    assert place.file(snapshot, MODEL).read_bytes() == held
    assert list((place.target / "incomplete").iterdir()) == []
    assert place.verify().whole
