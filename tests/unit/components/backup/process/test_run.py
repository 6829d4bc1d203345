"""Whole runs on real files: what a snapshot holds, and what prevents it from being made."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.backup.process import pins
from aiidpd.components.backup.process import store as stores
from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.manifest import MANIFEST, dump_manifest, dump_sums, sums_of
from aiidpd.components.backup.process.proofs import read_proofs
from aiidpd.components.backup.process.results import RunResult
from aiidpd.components.backup.process.store import Store
from aiidpd.kernel.errors import Conflict, Misconfigured, Unavailable
from tests.unit.components.backup.conftest import Site

MODEL = "hub/blobs/abc"


class AtPhase(Control):
    """Does something once, at the begin of a phase."""

    def __init__(self, phase: str, action: Callable[[], object]) -> None:
        super().__init__()
        self._phase_wanted = phase
        self._action = action

    def enter(self, phase: str, *, files: int = 0, total: int = 0) -> None:
        super().enter(phase, files=files, total=total)
        if phase == self._phase_wanted:
            self._action()


def check_sums(snapshot: Path) -> subprocess.CompletedProcess[bytes]:
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    return subprocess.run(command, cwd=snapshot, capture_output=True, check=False)


def sums_are_right(site: Site, snapshot: str) -> bool:
    return check_sums(site.target / "snapshots" / snapshot).returncode == 0


def rewrite(path: Path, content: bytes) -> None:
    """Change a file and set its time back: its ctime alone shows it."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rot(site: Site, path: str, content: bytes) -> None:
    """Change a file as a bad disk does, without a trace.

    No program can set a ctime, so the record of the newest snapshot gets the one that the file has then.
    """
    file = site.source / path
    rewrite(file, content)
    newest = site.snapshots()[-1]
    manifest = site.manifest(newest)
    now = file.stat().st_ctime_ns
    files = tuple(replace(each, ctime_ns=now) if each.path == path else each for each in manifest.files)
    rewrite_manifest(site, newest, {"files": files})


def rewrite_manifest(site: Site, snapshot: str, changes: Mapping[str, Any]) -> None:
    folder = site.target / "snapshots" / snapshot
    manifest = replace(site.manifest(snapshot), **changes)
    listed = dump_manifest(manifest)
    for name, content in ((MANIFEST, listed), ("SHA256SUMS", dump_sums(sums_of(manifest, listed)))):
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(content)


def lose(site: Site, path: str) -> None:
    """Remove the stored content of a file of the newest snapshot, everywhere."""
    newest = site.manifest(site.snapshots()[-1])
    (file,) = (each for each in newest.files if each.path == path)
    site.store.object_path(file.sha256).unlink()
    for snapshot in site.snapshots():
        (site.files(snapshot) / path).unlink(missing_ok=True)


def test_a_snapshot_mirrors_the_source_and_sha256sum_agrees(site: Site) -> None:
    result = site.backup()
    snapshot = site.target / "snapshots" / result.snapshot
    files = snapshot / "files"
    assert sorted(path.name for path in snapshot.iterdir()) == ["SHA256SUMS", "files", "manifest.json"]
    assert (files / MODEL).read_bytes() == (site.source / MODEL).read_bytes()
    assert str((files / "hub/snapshots/model").readlink()) == "../blobs/abc"
    assert not (files / "half.incomplete").exists()
    assert (result.files, result.copied_files, result.linked_files) == (3, 3, 0)
    assert result.read_bytes == result.copied_bytes == 300_005, "each byte is read once"
    sums = check_sums(snapshot)
    assert sums.returncode == 0, sums.stdout
    assert sums.stdout.count(b": OK") == 4  # three files and manifest.json
    assert site.leftovers() == []


def test_an_unchanged_source_is_confirmed_and_not_backed_up_again(site: Site) -> None:
    first = site.backup()
    second = site.backup()
    assert (second.snapshot, second.unchanged, second.read_bytes) == (first.snapshot, True, 0)
    assert site.snapshots() == [first.snapshot]
    assert read_proofs(site.target)[0].confirmed == {first.snapshot: site.now}


def test_what_did_not_change_is_shared_with_the_snapshot_before(site: Site) -> None:
    first = site.backup()
    (site.source / "config.json").write_bytes(b"{1}")
    (site.source / "new").write_bytes(b"new")
    second = site.backup()
    assert (second.copied_files, second.linked_files, second.linked_bytes) == (2, 2, 300_003)
    old, new = site.files(first.snapshot), site.files(second.snapshot)
    assert (old / MODEL).samefile(new / MODEL)
    assert (old / "config.json").read_bytes() == b"{}"
    assert (new / "config.json").read_bytes() == b"{1}"
    assert sums_are_right(site, first.snapshot)
    assert sums_are_right(site, second.snapshot)
    read = {file.path: file.read_at for file in site.manifest(second.snapshot).files}
    assert read["new"] == site.now
    assert read[MODEL] == site.now - 60, "it was not read again"


def test_one_content_is_stored_once_whatever_its_names(site: Site) -> None:
    content = (site.source / MODEL).read_bytes()
    (site.source / "again").write_bytes(content)
    (site.source / "hard").hardlink_to(site.source / MODEL)
    first = site.backup()
    assert (first.files, first.copied_files, first.copied_bytes) == (5, 3, 300_005)
    files = site.files(first.snapshot)
    assert (files / "again").samefile(files / MODEL)
    assert (files / "hard").samefile(files / MODEL)
    (site.source / "much later").write_bytes(content)
    second = site.backup()
    assert (second.copied_files, second.copied_bytes) == (0, 0)
    assert (site.files(second.snapshot) / "much later").samefile(files / MODEL)


def test_a_rename_moves_no_bytes(site: Site) -> None:
    first = site.backup()
    (site.source / MODEL).rename(site.source / "renamed")
    second = site.backup()
    assert (second.copied_files, second.read_bytes) == (0, 0)
    assert (site.files(second.snapshot) / "renamed").samefile(site.files(first.snapshot) / MODEL)
    assert sums_are_right(site, second.snapshot)


def test_a_touched_file_is_read_and_not_stored_again(site: Site) -> None:
    first = site.backup()
    (site.source / MODEL).chmod(0o600)
    second = site.backup()
    assert (second.copied_files, second.read_bytes) == (0, 300_000)
    (made,) = (file for file in site.manifest(second.snapshot).files if file.path == MODEL)
    assert (made.mode, made.read_at) == (0o600, site.now)
    assert (site.files(first.snapshot) / MODEL).samefile(site.files(second.snapshot) / MODEL)


def test_an_edit_under_an_old_time_is_backed_up_and_the_snapshot_before_pinned(site: Site) -> None:
    first = site.backup()
    rewrite(site.source / MODEL, b"z" * 300_000)
    second = site.backup()
    assert (second.rewritten, second.protected) == ((MODEL,), first.snapshot)
    assert (site.files(second.snapshot) / MODEL).read_bytes() == b"z" * 300_000
    assert (site.files(first.snapshot) / MODEL).read_bytes() != b"z" * 300_000
    assert "hub/blobs/abc" in pins.read(site.target)[first.snapshot]
    assert second.rotten == {}


def test_a_rotten_source_is_not_stored_in_the_place_of_content_that_was_lost(site: Site) -> None:
    site.backup()
    rot(site, MODEL, b"r" * 300_000)
    lose(site, MODEL)
    second = site.backup()
    assert list(second.rotten) == [MODEL]
    assert "the target has no good copy" in second.left_out[MODEL]
    assert not (site.files(second.snapshot) / MODEL).exists()
    assert sums_are_right(site, second.snapshot)


def test_lost_content_is_stored_again_where_the_source_still_has_it(site: Site) -> None:
    site.backup()
    lose(site, MODEL)
    second = site.backup()
    assert (second.copied_files, second.copied_bytes, second.rotten) == (1, 300_000, {})
    assert sums_are_right(site, second.snapshot)


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target without hard links, as FAT and many network mounts are."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("no_links")
def test_without_hard_links_each_snapshot_has_its_own_copies_and_says_so(site: Site) -> None:
    first = site.backup()
    assert first.own_copies
    assert site.backup().unchanged
    (site.source / "new").write_bytes(b"new")
    second = site.backup()
    assert second.own_copies
    for result in (first, second):
        assert sums_are_right(site, result.snapshot)
        assert (site.files(result.snapshot) / MODEL).stat().st_nlink == 1


@pytest.mark.usefixtures("no_links")
def test_without_hard_links_a_rotten_source_is_retained_as_it_was(site: Site) -> None:
    site.backup()
    good = (site.source / MODEL).read_bytes()
    rot(site, MODEL, b"r" * 300_000)
    (site.source / "new").write_bytes(b"new")
    second = site.backup()
    assert list(second.rotten) == [MODEL]
    assert (site.files(second.snapshot) / MODEL).read_bytes() == good
    (made,) = (file for file in site.manifest(second.snapshot).files if file.path == MODEL)
    assert "otherwise than it was backed up" in made.retained
    assert sums_are_right(site, second.snapshot)


def test_a_file_with_the_most_links_that_there_can_be_gets_a_copy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = site.backup()
    link = os.link

    def refuse(source: str | Path, *where: Any, **how: Any) -> None:
        if site.store.object_path(digest_of(site, first, MODEL)) == Path(source):
            raise OSError(31, "Too many links")
        link(source, *where, **how)

    monkeypatch.setattr(os, "link", refuse)
    (site.source / "new").write_bytes(b"new")
    second = site.backup()
    assert not second.own_copies
    assert (second.files, second.read_bytes) == (4, 300_003)
    assert sums_are_right(site, second.snapshot)


def digest_of(site: Site, result: RunResult, path: str) -> str:
    return next(file.sha256 for file in site.manifest(result.snapshot).files if file.path == path)


@pytest.mark.parametrize("loss", ["gone", "short"])
def test_a_file_that_the_snapshot_before_lost_is_copied_again(site: Site, loss: str) -> None:
    """From before there were objects: the snapshot alone has the content."""
    first = site.backup()
    old = site.files(first.snapshot) / MODEL
    site.store.object_path(digest_of(site, first, MODEL)).unlink()
    old.chmod(0o600)  # snapshots are read-only, which binds whoever is not root
    if loss == "short":
        os.truncate(old, 5)
    else:
        old.unlink()
    second = site.backup()
    assert (second.copied_files, second.copied_bytes) == (1, 300_000)
    assert sums_are_right(site, second.snapshot)


def test_a_target_of_the_first_format_is_used_on(site: Site) -> None:
    first = site.backup()
    shutil.rmtree(site.target / "objects")
    (site.target / "aiidpd-backup.json").unlink()
    (site.source / "new").write_bytes(b"new")
    second = site.backup()
    assert (second.copied_files, second.linked_files) == (1, 3)
    assert (site.files(second.snapshot) / MODEL).samefile(site.files(first.snapshot) / MODEL)
    assert digest_of(site, second, MODEL) in site.store.stored()


def test_a_snapshot_of_another_source_shares_its_content_and_nothing_else(site: Site) -> None:
    first = site.backup()
    other = site.source.parent / "other"
    shutil.copytree(site.source, other, symlinks=True)
    site.source = other
    second = site.backup()
    assert (second.read_bytes, second.copied_files) == (300_005, 0)
    assert (site.files(first.snapshot) / MODEL).samefile(site.files(second.snapshot) / MODEL)


def test_a_broken_snapshot_is_listed_and_not_linked_from(site: Site) -> None:
    first = site.backup()
    (site.source / "new").write_bytes(b"new")
    second = site.backup()
    (site.target / "snapshots" / second.snapshot / MANIFEST).unlink()
    (site.target / "snapshots" / "lost+found").mkdir()
    (site.target / "snapshots" / "stray").touch()
    third = site.backup()
    assert third.linked_files == 4
    found = {listed.id: listed.broken for listed in site.store.all()}
    assert found[first.snapshot] == found[third.snapshot] == ""
    assert found[second.snapshot] == "manifest.json: No such file or directory"
    assert found["lost+found"] == found["stray"] == "its name is not that of a snapshot"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda snapshot: (snapshot / "SHA256SUMS").unlink(), "SHA256SUMS: No such file or directory"),
        (lambda snapshot: shutil.rmtree(snapshot / "files"), "files: No such file or directory"),
        (lambda snapshot: snapshot.rename(snapshot.parent / "20200101T000000Z"), "its manifest is that of 2"),
        (lambda snapshot: snapshot.rename(snapshot.parent / "copy"), "its name is not that of a snapshot"),
    ],
)
def test_a_snapshot_that_lacks_a_part_is_broken(
    site: Site, damage: Callable[[Path], object], reason: str
) -> None:
    damage(site.target / "snapshots" / site.backup().snapshot)
    (listed,) = site.store.all()
    assert listed.broken.startswith(reason)


def test_a_snapshot_from_the_future_is_linked_from_only_where_there_is_no_other(site: Site) -> None:
    site.now += 1e6
    site.backup()
    site.now -= 1e6
    assert site.backup().unchanged
    (site.source / "new").write_bytes(b"new")
    present = site.backup()
    assert site.backup().snapshot == present.snapshot


def test_two_runs_within_a_second_make_two_snapshots(site: Site) -> None:
    first = site.run().execute()
    (site.source / "new").write_bytes(b"new")
    second = site.run().execute()
    assert second.snapshot > first.snapshot
    assert site.snapshots() == [first.snapshot, second.snapshot]


def test_a_file_that_changes_once_is_tried_again_as_it_is_then(site: Site) -> None:
    model = site.source / MODEL
    result = site.backup(AtPhase("copying", lambda: model.write_bytes(b"newer")))
    copied = site.files(result.snapshot) / MODEL
    assert copied.read_bytes() == b"newer"
    assert (result.bytes, result.left_out) == (10, {})
    assert sums_are_right(site, result.snapshot)


@pytest.mark.parametrize(
    ("change", "words"),
    [("gone", None), ("folder", "become a folder"), ("link", "a symbolic link meanwhile")],
)
def test_a_file_that_is_none_any_more_costs_the_run_nothing_else(
    site: Site, change: str, words: str | None
) -> None:
    def meddle() -> None:
        path = site.source / "config.json"
        path.unlink()
        if change == "folder":
            path.mkdir()
        elif change == "link":
            path.symlink_to("/etc/passwd")

    result = site.backup(AtPhase("copying", meddle))
    assert result.files == 2
    assert (words or "") in result.left_out.get("config.json", "")
    assert bool(result.left_out) is (words is not None)
    assert sums_are_right(site, result.snapshot)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return paths of the source that can't be read, whatever user the test runs as; a test adds some."""
    paths: set[str] = set()
    open_file = os.open

    def refuse(path: str | Path, *rest: Any, **more: Any) -> int:
        if Path(path).name in paths:
            raise OSError(5, "Input/output error")
        return open_file(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    return paths


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_backed_up(
    site: Site, unreadable: set[str]
) -> None:
    unreadable.add("abc")
    result = site.backup()
    assert result.left_out == {MODEL: "Input/output error"}
    assert result.files == 2
    assert sums_are_right(site, result.snapshot)
    unreadable.clear()
    second = site.backup()
    assert (second.left_out, second.copied_files) == ({}, 1)


def test_a_source_of_which_nothing_can_be_read_makes_no_snapshot(site: Site, unreadable: set[str]) -> None:
    unreadable.update(("abc", "config.json", os.fsdecode(b"odd\n\\\xff")))
    with pytest.raises(Unavailable, match=r"nothing of it can be read: .*Input/output error"):
        site.backup()
    assert site.snapshots() == site.leftovers() == []


def test_what_is_left_out_is_named_and_recorded(site: Site) -> None:
    (site.source / "out").symlink_to("/etc/passwd")
    os.mkfifo(site.source / "pipe")
    result = site.backup()
    assert result.left_out == {
        "out": "it leads out of the source, to /etc/passwd",
        "pipe": "it is no regular file, folder or symbolic link",
    }
    assert site.manifest(result.snapshot).left_out == result.left_out
    assert not (site.files(result.snapshot) / "out").is_symlink()
    assert site.backup().unchanged


def test_a_link_that_finds_no_room_is_named_and_not_what_it_leads_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: str) -> None:
        raise OSError(28, "No space left on device", target, None, str(self))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(Unavailable, match=r"write the target hub/snapshots/model: its file system is full"):
        site.backup()
    assert site.snapshots() == site.leftovers() == []


def test_empty_folders_are_there(site: Site) -> None:
    (site.source / "empty" / "deep").mkdir(parents=True, mode=0o700)
    result = site.backup()
    assert (site.files(result.snapshot) / "empty" / "deep").is_dir()
    assert {"empty", "empty/deep"} <= {folder.path for folder in site.manifest(result.snapshot).folders}


def test_a_loop_of_links_and_a_name_of_255_bytes(site: Site) -> None:
    (site.source / "loop").symlink_to("loop")
    (site.source / ("n" * 255)).write_bytes(b"long")
    result = site.backup()
    assert result.left_out == {"loop": "it leads round in a circle"}
    assert (site.files(result.snapshot) / ("n" * 255)).read_bytes() == b"long"
    assert sums_are_right(site, result.snapshot)


def test_an_empty_source_is_an_error(site: Site) -> None:
    shutil.rmtree(site.source)
    site.source.mkdir()
    (site.source / "only.tmp").touch()
    with pytest.raises(Unavailable, match=r"it holds no files; check that it is mounted"):
        site.backup()
    assert site.snapshots() == site.leftovers() == []


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_missing_folder_is_named_and_not_made(site: Site, side: str) -> None:
    path = getattr(site, side)
    shutil.rmtree(path)
    with pytest.raises(Unavailable, match=f"{path}: it is no folder; mount it.*backup.{side}"):
        site.backup()
    assert not path.exists()


@pytest.mark.parametrize("relation", ["same", "target inside", "source inside", "through a link"])
def test_overlapping_folders_are_refused(site: Site, relation: str) -> None:
    if relation == "same":
        site.target = site.source
    elif relation == "target inside":
        site.target = site.source / "hub"
    elif relation == "source inside":
        site.target = site.source.parent
    else:
        site.target = site.source.parent / "alias"
        site.target.symlink_to(site.source / "hub")
    with pytest.raises(Misconfigured, match="overlap; choose a target outside the source"):
        site.backup()
    assert not (site.target / ".lock").exists()


def test_too_little_room_is_reported_before_anything_is_written(site: Site) -> None:
    site.options["reserve"] = 2**60
    with pytest.raises(
        Unavailable, match=r"1048576\.0 TiB are needed with the reserve, .* are free; free space"
    ):
        site.backup()
    assert site.leftovers() == []


def test_leftovers_of_a_crash_are_removed(site: Site) -> None:
    old = site.target / "incomplete" / "20200101T000000Z" / "files"
    old.mkdir(parents=True)
    site.options["adopt"] = True
    (old / "part").write_bytes(b"x")
    (old / "link").symlink_to(site.source)
    (site.target / "incomplete" / "stray").touch()
    site.backup()
    assert site.leftovers() == []
    assert (site.source / "config.json").exists()


def test_a_run_that_is_cancelled_leaves_nothing(site: Site) -> None:
    control = Control()
    control.cancelled = True
    with pytest.raises(Cancelled):
        site.run(control).execute()
    later = AtPhase("publishing", lambda: setattr(later, "cancelled", True))
    with pytest.raises(Cancelled):
        site.run(later).execute()
    assert site.snapshots() == site.leftovers() == []


def test_two_runs_do_not_interleave(site: Site) -> None:
    first, second = Store(site.target), Store(site.target, patience=0.1)
    refused = pytest.raises(Conflict, match=r"lock .* another backup runs on it")
    with first.locked(Control()), refused, second.locked(Control()):
        pytest.fail("both hold the lock")
    assert site.backup().files == 3


def test_a_file_that_was_changed_just_now_is_read_once_it_has_settled(site: Site) -> None:
    site.options["settle"] = 0.3
    slept: list[float] = []

    class Patient(Control):
        def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            super().sleep(seconds)

    model = site.source / MODEL
    os.utime(model, (1.0, 1.0))
    for path in ("config.json", os.fsdecode(b"odd\n\\\xff")):
        os.utime(site.source / path)
    result = site.backup(Patient())
    assert result.copied_files == 3
    assert 0.0 < slept[0] <= 0.3


@pytest.mark.parametrize(("writes", "stored"), [(0, True), (1, True), (2, False)])
def test_a_file_that_is_written_to_while_it_settles_is_waited_for_again(
    site: Site, writes: int, stored: bool
) -> None:
    site.options["settle"] = 0.2
    model = site.source / MODEL
    model.write_bytes(b"first")
    waits = 0

    class Disturbed(Control):
        def sleep(self, seconds: float) -> None:
            nonlocal waits
            super().sleep(seconds)
            waits += 1
            if waits <= writes:
                model.write_bytes(b"half of" + bytes([waits]))

    result = site.backup(Disturbed())
    assert waits == min(2, writes + 1)
    assert (MODEL not in result.left_out) is stored
    if not stored:
        assert "written to each time" in result.left_out[MODEL]


def test_removed_snapshots_free_what_no_other_has(site: Site) -> None:
    first = site.backup()
    (site.source / "config.json").write_bytes(b"{1}")
    site.backup()
    store = site.store
    with store.locked(Control()):
        store.remove(first.snapshot, Control())
        assert store.collect(Control()) == (1, 2)
    assert len(site.snapshots()) == 1
    assert sums_are_right(site, site.snapshots()[0])
    assert site.leftovers() == []


def test_a_clone_takes_the_place_of_a_link_where_the_file_system_has_it(tmp_path: Path) -> None:
    """Here it has none, as on ext4: then nothing is left behind."""
    (tmp_path / "stored").write_bytes(b"x")
    assert stores._clone(tmp_path / "stored", tmp_path / "made") is (tmp_path / "made").exists()
