"""Whole runs on real files: what a snapshot holds, and what keeps it from being made."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiidpd.components.backup.cancel import Cancelled, RunControl
from aiidpd.components.backup.copy import Copier
from aiidpd.components.backup.run import BackupRun
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.store import Store, list_snapshots
from aiidpd.kernel.errors import Conflict, Misconfigured, Unavailable
from tests.unit.components.backup.conftest import Site


class AtPhase(RunControl):
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


def test_a_snapshot_mirrors_the_source_and_sha256sum_agrees(site: Site):
    info = site.backup()
    snapshot = site.target / "snapshots" / info.id
    files = snapshot / "files"
    assert sorted(path.name for path in snapshot.iterdir()) == ["SHA256SUMS", "files", "manifest.json"]
    assert (files / "hub/blobs/abc").read_bytes() == (site.source / "hub/blobs/abc").read_bytes()
    assert str((files / "hub/snapshots/model").readlink()) == "../blobs/abc"
    assert not (files / "half.incomplete").exists()
    assert (info.files, info.copied_files, info.linked_files) == (3, 3, 0)
    assert info.verified_at == site.now
    result = check_sums(snapshot)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count(b": OK") == 4  # three files and manifest.json
    assert site.leftovers() == []


def test_what_did_not_change_is_shared_with_the_snapshot_before(site: Site):
    first = site.backup()
    (site.source / "config.json").write_bytes(b"{1}")
    (site.source / "new").write_bytes(b"new")
    second = site.backup()
    assert (second.copied_files, second.linked_files, second.linked_bytes) == (2, 2, 300_003)
    old, new = (site.target / "snapshots" / info.id / "files" for info in (first, second))
    assert (old / "hub/blobs/abc").samefile(new / "hub/blobs/abc")
    assert (old / "config.json").read_bytes() == b"{}"
    assert (new / "config.json").read_bytes() == b"{1}"
    assert check_sums(old.parent).returncode == check_sums(new.parent).returncode == 0
    manifest = Store(site.target).load(second.id)
    verified = {file.path: file.verified_at for file in manifest.files}
    assert verified["new"] == second.verified_at
    assert verified["hub/blobs/abc"] == first.verified_at  # was not read again


@pytest.mark.parametrize("loss", ["gone", "short", "link"])
def test_a_file_that_the_snapshot_before_lost_is_copied_again(site: Site, loss: str):
    old = site.target / "snapshots" / site.backup().id / "files/hub/blobs/abc"
    if loss == "short":
        old.chmod(0o600)  # snapshots are read-only, which binds whoever is not root
        os.truncate(old, 5)
    else:
        old.unlink()
    if loss == "link":
        old.symlink_to("/etc/passwd")
    second = site.backup()
    assert (second.copied_files, second.copied_bytes) == (1, 300_000)
    assert check_sums(site.target / "snapshots" / second.id).returncode == 0


def test_a_snapshot_of_another_source_is_not_linked_from(site: Site):
    site.backup()
    other = site.source.parent / "other"
    shutil.copytree(site.source, other, symlinks=True)
    site.source = other
    assert site.backup().linked_files == 0


def test_a_broken_snapshot_is_listed_and_not_linked_from(site: Site):
    first = site.backup()
    second = site.backup()
    (site.target / "snapshots" / second.id / "manifest.json").unlink()
    (site.target / "snapshots" / "lost+found").mkdir()
    (site.target / "snapshots" / "stray").touch()
    third = site.backup()
    assert third.linked_files == 3
    infos = {info.id: info.broken for info in list_snapshots(site.target)}
    assert infos[first.id] == infos[third.id] == ""
    assert infos[second.id] == "manifest.json: No such file or directory"
    assert "No such file" in infos["lost+found"]
    assert "Not a directory" in infos["stray"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda snapshot: (snapshot / "SHA256SUMS").unlink(), "SHA256SUMS: No such file or directory"),
        (lambda snapshot: shutil.rmtree(snapshot / "files"), "files: No such file or directory"),
        (lambda snapshot: snapshot.rename(snapshot.parent / "20200101T000000Z"), "its manifest is that of 2"),
        (lambda snapshot: snapshot.rename(snapshot.parent / "copy"), "its name is not that of a snapshot"),
    ],
)
def test_a_snapshot_that_lacks_a_part_is_broken(site: Site, damage: Callable[[Path], object], reason: str):
    damage(site.target / "snapshots" / site.backup().id)
    (info,) = list_snapshots(site.target)
    assert info.broken.startswith(reason)


def test_a_list_is_read_anew_where_a_snapshot_changed(site: Site):
    store = Store(site.target)
    info = site.backup()
    assert store.all() == (info,) == store.all()
    manifest = site.target / "snapshots" / info.id / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(b"{}")
    assert store.all()[0].broken


def test_two_runs_within_a_second_make_two_snapshots(site: Site):
    first = site.run().execute()
    second = site.run().execute()
    assert second.id > first.id
    assert site.snapshots() == [first.id, second.id]


def test_a_flipped_bit_between_copy_and_verification_is_found_and_published_by_nobody(site: Site):
    run = site.run()
    prepared = run.prepare()
    with Copier(RunControl()) as copier:
        manifest = run.copy(prepared, copier)
        damaged = prepared.build / "files/hub/blobs/abc"
        damaged.chmod(0o644)
        before = damaged.stat()
        with damaged.open("r+b") as file:
            file.seek(200_000)
            byte = file.read(1)[0]
            file.seek(200_000)
            file.write(bytes([byte ^ 1]))
        os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(Unavailable, match=r"cannot verify the copy .* hub/blobs/abc; .*smartctl"):
            run.verify(prepared, manifest, copier)


def test_damage_found_by_a_whole_run_leaves_no_snapshot(site: Site):
    def damage() -> None:
        (path,) = site.target.glob("incomplete/*/files/config.json")
        path.chmod(0o644)
        path.write_bytes(b"[]")

    with pytest.raises(Unavailable, match=r"other bytes than were written to config\.json"):
        site.run(AtPhase("verifying", damage)).execute()
    assert site.snapshots() == site.leftovers() == []
    assert site.backup().files == 3


def test_a_file_that_changes_once_is_tried_again_as_it_is_then(site: Site):
    model = site.source / "hub/blobs/abc"
    info = site.run(AtPhase("copying", lambda: model.write_bytes(b"newer"))).execute()
    copied = site.target / "snapshots" / info.id / "files/hub/blobs/abc"
    assert copied.read_bytes() == b"newer"
    assert info.bytes == 10
    assert check_sums(copied.parents[3]).returncode == 0


@pytest.mark.parametrize("change", ["gone", "folder", "link"])
def test_a_file_that_is_none_any_more_fails_the_run_and_leaves_nothing(site: Site, change: str):
    def meddle() -> None:
        path = site.source / "config.json"
        path.unlink()
        if change == "folder":
            path.mkdir()
        elif change == "link":
            path.symlink_to("/etc/passwd")

    with pytest.raises(Unavailable, match=r"config\.json"):
        site.run(AtPhase("copying", meddle)).execute()
    assert site.snapshots() == site.leftovers() == []


def test_what_is_refused_is_recorded(site: Site):
    (site.source / "out").symlink_to("/etc/passwd")
    os.mkfifo(site.source / "pipe")
    info = site.backup()
    assert info.refused == 2
    assert Store(site.target).load(info.id).refused == {
        "out": "it leads out of the source, to /etc/passwd",
        "pipe": "it is no regular file, folder or symbolic link",
    }
    assert not (site.target / "snapshots" / info.id / "files" / "out").is_symlink()


def test_an_empty_source_is_an_error(site: Site):
    shutil.rmtree(site.source)
    site.source.mkdir()
    (site.source / "only.tmp").touch()
    with pytest.raises(Unavailable, match=r"it holds no files; check that it is mounted"):
        site.backup()
    assert site.snapshots() == site.leftovers() == []


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_missing_folder_is_named_and_not_made(site: Site, side: str):
    path = getattr(site, side)
    shutil.rmtree(path)
    with pytest.raises(Unavailable, match=f"{path}: it is no folder; mount it.*backup.{side}"):
        site.backup()
    assert not path.exists()


@pytest.mark.parametrize("relation", ["same", "target inside", "source inside", "through a link"])
def test_overlapping_folders_are_refused(site: Site, relation: str):
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


def test_too_little_room_is_told_before_anything_is_written(site: Site):
    run = BackupRun(site.settings.model_copy(update={"reserve": 2**60}), RunControl(), lambda: 1.8e9)
    with pytest.raises(
        Unavailable, match=r"1048576\.0 TiB are needed with the reserve, .* are free; free space"
    ):
        run.execute()
    assert site.leftovers() == []


def test_leftovers_of_a_crash_are_removed(site: Site):
    old = site.target / "incomplete" / "20200101T000000Z" / "files"
    old.mkdir(parents=True)
    (old / "part").write_bytes(b"x")
    (old / "link").symlink_to(site.source)
    (site.target / "incomplete" / "stray").touch()
    site.backup()
    assert site.leftovers() == []
    assert (site.source / "config.json").exists()


def test_a_run_that_is_told_to_stop_leaves_nothing(site: Site):
    control = RunControl()
    control.cancelled = True
    with pytest.raises(Cancelled):
        site.run(control).execute()
    later = AtPhase("verifying", lambda: setattr(later, "cancelled", True))
    with pytest.raises(Cancelled):
        site.run(later).execute()
    assert site.snapshots() == site.leftovers() == []


def test_two_runs_do_not_interleave(site: Site):
    first, second = Store(site.target), Store(site.target, patience=0.1)
    refused = pytest.raises(Conflict, match=r"lock .* another backup runs on it")
    with first.locked(RunControl()), refused, second.locked(RunControl()):
        pytest.fail("both hold the lock")
    assert site.backup().files == 3


def test_a_run_needs_both_folders():
    with pytest.raises(Misconfigured, match=r"backup\.source and backup\.target not set"):
        BackupRun(BackupSettings(), RunControl(), lambda: 0.0)
