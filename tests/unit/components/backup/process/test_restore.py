"""Restores on real files, of snapshots that real runs have made."""

import contextlib
import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.manifest import (
    MANIFEST,
    SUMS,
    FileEntry,
    FolderEntry,
    Manifest,
    dump_manifest,
    dump_sums,
    sums_of,
)
from aiidpd.components.backup.process.store import Store
from aiidpd.kernel.errors import AiidpdError, Conflict, Misconfigured, NotFound, Unavailable
from tests.forms import examples
from tests.unit.components.backup.conftest import Site
from tests.unit.components.backup.process.trees import (
    TREES,
    Thing,
    described,
    fill,
    grow,
    own_facts,
    restore,
)

MODEL = "hub/blobs/abc"
SHA_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
PART = ".aiidpd-restore-0123456789abcdef.part"


class AtFile(Control):
    """Does something once, when a phase comes to its first file."""

    def __init__(self, phase: str, action: Callable[[], object]) -> None:
        super().__init__()
        self._wanted: str | None = phase
        self._action = action

    def start_file(self, path: str) -> None:
        if self.phase == self._wanted:
            self._wanted = None
            self._action()
        super().start_file(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with an owner, a mode and a time of its own."""
    folder = tmp_path / "place"
    folder.mkdir()
    folder.chmod(0o2750)
    return folder


def unfinished(root: Path) -> list[Path]:
    return list(root.rglob(".aiidpd-restore-*"))


def overwrite(path: Path, content: bytes) -> None:
    """Change what a stored file holds; snapshots are read-only, which binds whoever is not root."""
    before = path.stat()
    path.chmod(0o600)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def publish(target: Path, manifest: Manifest, contents: dict[str, bytes]) -> None:
    """Make a snapshot as an enemy would, or a disk: whatever the manifest says."""
    folder = Store(target).snapshots / manifest.snapshot
    (folder / "files").mkdir(parents=True)
    listed = dump_manifest(manifest)
    (folder / MANIFEST).write_bytes(listed)
    (folder / SUMS).write_bytes(dump_sums(sums_of(manifest, listed)))
    for sha256, content in contents.items():
        stored = Store(target).object_path(sha256)
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(content)


# The whole


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_a_restore_equals_the_source_and_leaves_the_folder_itself_as_it_is(site: Site, tmp_path: Path):
    (site.source / "empty").mkdir(mode=0o750)
    (site.source / "half.incomplete").unlink()
    os.utime(site.source / "hub", (5, 5))
    snapshot = site.backup().snapshot
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o2750)
    os.chown(place, 1234, 1235)
    before = own_facts(place)
    result = restore(site.target, place)
    assert described(place) == described(site.source)
    assert own_facts(place)[:3] == before[:3]
    assert (result.snapshot, result.written, result.files, result.restored_files) == (snapshot, True, 3, 3)
    assert (result.restored_bytes, result.links, result.failed.count) == (300_005, 1, 0)
    again = restore(site.target, place)
    assert (again.restored_files, again.same_files, again.folders, again.links) == (0, 3, 0, 0)
    assert described(place) == described(site.source)


@examples(60)
@given(TREES)
def test_a_random_tree_comes_back_byte_for_byte_and_name_for_name(
    things: list[tuple[list[bytes], str, int, int, bytes]],
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = Site(folder / "source", folder / "target")
        site.source.mkdir()
        site.target.mkdir()
        grow(site.source, things)
        snapshot = site.backup().snapshot
        result = restore(site.target, folder / "new")
        assert result.failed.count == result.noted.count == result.refused.count == 0
        assert described(folder / "new") == described(site.source)
        for path in sorted(described(site.source))[:4]:
            part = folder / "part"
            shutil.rmtree(part, ignore_errors=True)
            assert restore(site.target, part, snapshot=snapshot, paths=(path,)).failed.count == 0
            whole, found = described(site.source), described(part)
            assert path in found
            assert all(whole[each].content == thing.content for each, thing in found.items())
            below = {each for each in whole if each == path or each.startswith(f"{path}/")}
            assert below <= found.keys()


def test_holes_stay_holes(tmp_path: Path):
    site = Site(tmp_path / "source", tmp_path / "target")
    site.source.mkdir()
    site.target.mkdir()
    with (site.source / "sparse").open("wb") as file:
        for place in (0, 40 << 20, 90 << 20):
            file.seek(place)
            file.write(b"data")
        file.truncate(100 << 20)
    snapshot = site.backup().snapshot
    assert (site.files(snapshot) / "sparse").stat().st_blocks * 512 <= 1 << 20
    restore(site.target, tmp_path / "new")
    restored = tmp_path / "new/sparse"
    assert restored.stat().st_blocks * 512 <= 1 << 20
    assert restored.read_bytes() == (site.source / "sparse").read_bytes()


def test_a_large_file_and_many_small_ones_come_back(tmp_path: Path):
    site = Site(tmp_path / "source", tmp_path / "target")
    site.target.mkdir()
    fill(site.source, 1, count=1500, size=3000)
    (site.source / "large").write_bytes(os.urandom(9 << 20))
    site.backup()
    assert restore(site.target, tmp_path / "new").restored_files == 1501
    assert described(tmp_path / "new") == described(site.source)
    slow = restore(site.target, tmp_path / "slow", rate=1 << 30)
    assert slow.restored_files == 1501


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
@pytest.mark.parametrize("name", ["user.origin", "trusted.secret"])
def test_attributes_of_users_come_back_and_others_with_the_owner_only(site: Site, tmp_path: Path, name: str):
    os.setxattr(site.source / MODEL, name, b"\0value")
    site.options["xattrs"] = True
    os.chown(site.source / MODEL, 1234, 1235)
    (site.source / MODEL).chmod(0o4755)
    site.backup()
    restore(site.target, tmp_path / "plain")
    plain = tmp_path / "plain" / MODEL
    assert (plain.stat().st_uid, stat.S_IMODE(plain.stat().st_mode)) == (0, 0o755)
    assert os.listxattr(plain) == (["user.origin"] if name == "user.origin" else [])
    restore(site.target, tmp_path / "owned", owner=True)
    owned = tmp_path / "owned" / MODEL
    assert (owned.stat().st_uid, owned.stat().st_gid) == (1234, 1235)
    assert stat.S_IMODE(owned.stat().st_mode) == 0o4755
    assert os.getxattr(owned, name) == b"\0value"
    restore(site.target, tmp_path / "none", xattrs=False)
    assert os.listxattr(tmp_path / "none" / MODEL) == []


# Parts


def test_a_part_brings_along_what_its_links_lead_to_and_nothing_else(tmp_path: Path):
    site = Site(tmp_path / "source", tmp_path / "target")
    site.target.mkdir()
    for name in ("one", "two"):
        (site.source / f"hub/models--{name}/snapshots/1").mkdir(parents=True)
        (site.source / f"hub/models--{name}/blobs").mkdir()
        (site.source / "hub/blobs/ab").mkdir(parents=True, exist_ok=True)
        (site.source / f"hub/blobs/ab/{name}").write_text(name)
        (site.source / f"hub/models--{name}/blobs/etag").symlink_to(f"../../blobs/ab/{name}")
        (site.source / f"hub/models--{name}/snapshots/1/config.json").symlink_to("../../blobs/etag")
    site.backup()
    restore(site.target, tmp_path / "new", paths=("models--one",))
    assert (tmp_path / "new/hub/models--one/snapshots/1/config.json").read_text() == "one"
    assert sorted(path.name for path in (tmp_path / "new/hub").rglob("*")) == sorted(
        ["models--one", "snapshots", "1", "config.json", "blobs", "etag", "blobs", "ab", "one"]
    )
    restore(site.target, tmp_path / "file", paths=("hub/models--two/snapshots/1/config.json",))
    assert (tmp_path / "file/hub/models--two/snapshots/1/config.json").read_text() == "two"


def test_a_path_or_a_snapshot_that_is_none_is_refused(site: Site, tmp_path: Path):
    snapshot = site.backup().snapshot
    with pytest.raises(NotFound, match=r"cannot restore nothing/\*: .* has no such path"):
        restore(site.target, tmp_path / "new", paths=("nothing/*", MODEL))
    with pytest.raises(NotFound, match="there is none"):
        restore(site.target, tmp_path / "new", snapshot="../snapshots")
    with pytest.raises(NotFound, match="no whole snapshot of /else"):
        restore(site.target, tmp_path / "new", source="/else")
    assert not (tmp_path / "new").exists()
    assert restore(site.target, tmp_path / "new", source=str(site.source)).snapshot == snapshot


def test_a_dry_run_writes_nothing(site: Site, tmp_path: Path):
    site.backup()
    result = restore(site.target, tmp_path / "new", dry_run=True)
    assert (result.written, result.files, result.same_files) == (False, 3, 0)
    assert not (tmp_path / "new").exists()
    in_place = restore(site.target, site.source, dry_run=True)
    assert in_place.same_files == 3


def test_what_the_snapshot_lacks_is_named(site: Site, tmp_path: Path):
    os.mkfifo(site.source / "hub" / "pipe")
    site.backup()
    assert "hub/pipe" in restore(site.target, tmp_path / "new").left_out.first
    assert restore(site.target, tmp_path / "other", paths=("config.json",)).left_out.count == 0


# In place


def test_in_place_only_what_is_missing_is_written(site: Site):
    site.backup()
    expected = described(site.source, times=False)
    (site.source / MODEL).unlink()
    (site.source / "hub/snapshots/model").unlink()
    before = own_facts(site.source)
    result = restore(site.target, site.source)
    assert (result.restored_files, result.same_files, result.links) == (1, 2, 1)
    assert described(site.source, times=False) == expected
    assert own_facts(site.source)[:3] == before[:3]


@pytest.mark.parametrize(
    ("content", "time", "reason"),
    [
        (b"newer and longer", 2e9, "a newer file is there"),
        (b"older and longer", 1e9, "another file is there"),
        (b"[]", 2e9, "another file of the same size is there"),
        (b"[]", None, "another file of the same size is there"),
    ],
)
def test_in_place_what_differs_is_refused_before_anything_is_written(
    site: Site, content: bytes, time: float | None, reason: str
):
    os.utime(site.source / "config.json", (1.5e9, 1.5e9))
    site.backup()
    config = site.source / "config.json"
    config.write_bytes(content)
    os.utime(config, (time or 1.5e9, time or 1.5e9))
    (site.source / MODEL).unlink()
    result = restore(site.target, site.source)
    assert not result.written
    assert result.refused.first == {"config.json": reason}
    assert not (site.source / MODEL).exists()
    skipped = restore(site.target, site.source, conflicts="skip")
    assert (skipped.written, skipped.restored_files, skipped.refused.count) == (True, 1, 1)
    assert config.read_bytes() == content
    forced = restore(site.target, site.source, conflicts="overwrite")
    assert (forced.restored_files, forced.same_files, forced.refused.count) == (1, 2, 0)
    assert config.read_bytes() == b"{}"
    assert config.stat().st_mtime == 1.5e9


def test_what_looks_the_same_is_trusted_only_where_that_is_wanted(site: Site):
    site.backup()
    config = site.source / "config.json"
    before = config.stat().st_mtime_ns
    config.write_bytes(b"[]")
    os.utime(config, ns=(before, before))
    assert restore(site.target, site.source, trust=True).refused.count == 0
    assert restore(site.target, site.source).refused.count == 1


def test_a_touched_file_gets_its_time_and_mode_back_and_is_not_written(site: Site):
    site.backup()
    expected = described(site.source)
    inode = (site.source / MODEL).stat().st_ino
    (site.source / MODEL).chmod(0o600)
    os.utime(site.source / MODEL)
    result = restore(site.target, site.source)
    assert (result.same_files, result.restored_files, result.noted.count) == (3, 0, 0)
    assert described(site.source) == expected
    assert (site.source / MODEL).stat().st_ino == inode


def test_another_kind_of_thing_is_never_replaced_unless_it_is_a_file_or_a_link(site: Site):
    site.backup()
    (site.source / "config.json").unlink()
    (site.source / "config.json").mkdir()
    (site.source / "config.json/own").touch()
    shutil.rmtree(site.source / "hub/blobs")
    (site.source / "hub/blobs").write_text("own")
    (site.source / "hub/snapshots/model").unlink()
    (site.source / "hub/snapshots/model").symlink_to("elsewhere")
    for conflicts, count in (("refuse", 4), ("overwrite", 3)):
        result = restore(site.target, site.source, conflicts=conflicts)
        assert not result.written
        assert result.refused.count == count
        assert result.refused.first["config.json"] == "a folder is there"
        assert result.refused.first["hub/blobs"] == "a file is there, where a folder has to be"
        assert result.refused.first[MODEL].startswith("the folder above it can't be made: a file is there")
    skipped = restore(site.target, site.source, conflicts="skip")
    assert (skipped.restored_files, skipped.same_files, skipped.links) == (0, 1, 0)
    assert (site.source / "hub/blobs").read_text() == "own"


def test_overwriting_replaces_links_by_files_and_files_by_links(site: Site):
    site.backup()
    expected = described(site.source, times=False)
    outside = site.source.parent / "outside"
    outside.write_bytes(b"own")
    (site.source / MODEL).unlink()
    (site.source / MODEL).symlink_to(outside)
    (site.source / "hub/snapshots/model").unlink()
    (site.source / "hub/snapshots/model").write_bytes(b"own")
    result = restore(site.target, site.source, conflicts="overwrite")
    assert (result.restored_files, result.links) == (1, 1)
    assert described(site.source, times=False) == expected
    assert outside.read_bytes() == b"own"


def test_a_file_that_changes_meanwhile_is_not_replaced(site: Site):
    site.backup()
    config = site.source / "config.json"
    config.write_bytes(b"old")
    late = site.source / "late"
    late.write_bytes(b"here")
    site.backup()
    late.unlink()
    config.write_bytes(b"other")

    def interfere() -> None:
        config.write_bytes(b"someone's edit")
        late.write_bytes(b"someone's new file")

    result = restore(site.target, site.source, AtFile("restoring", interfere), conflicts="overwrite")
    assert set(result.failed.first) == {"config.json", "late"}
    assert set(result.failed.first.values()) == {"something else has written to it meanwhile"}
    assert config.read_bytes() == b"someone's edit"
    assert unfinished(site.source) == []


def test_a_hard_link_to_a_stored_file_is_replaced_by_a_file_of_its_own(site: Site):
    snapshot = site.backup().snapshot
    (site.source / MODEL).unlink()
    os.link(site.files(snapshot) / MODEL, site.source / MODEL)
    result = restore(site.target, site.source)
    assert result.failed.first == {}
    assert not (site.source / MODEL).samefile(site.files(snapshot) / MODEL)


# Enemies


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a//b", "./a", "a/."])
def test_a_manifest_that_names_a_place_outside_is_refused(tmp_path: Path, path: str):
    target = tmp_path / "target"
    manifest = Manifest("20270101T000000Z", "/s", 1.0, (FileEntry(path, 1, 1, 0o644, "0" * 64),))
    publish(target, manifest, {"0" * 64: b"x"})
    with pytest.raises(Unavailable, match="names a path outside the snapshot"):
        restore(target, tmp_path / "new", snapshot=manifest.snapshot)
    with pytest.raises(NotFound):
        restore(target, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["target"]


HOSTILE = st.lists(st.sampled_from(["a", "b", "l", "outside", *"abl" * 3, ".."]), min_size=1, max_size=4).map(
    "/".join
)
TARGETS = st.sampled_from(["..", "../outside", "../../outside", "a", "l/..", ".", "/", "b/../../outside"])


@examples(150)
@given(
    st.lists(HOSTILE, max_size=5, unique=True),
    st.lists(HOSTILE, max_size=3, unique=True),
    st.dictionaries(HOSTILE, TARGETS, max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "l", "a/b", "a/l"]), TARGETS, max_size=3),
    st.sampled_from(["refuse", "skip", "overwrite"]),
)
def test_no_manifest_and_no_destination_leads_a_write_outside(
    files: list[str], folders: list[str], links: dict[str, str], planted: dict[str, str], conflicts: str
):
    with tempfile.TemporaryDirectory() as name:
        around, place = Path(name), Path(name, "deep/place")
        place.mkdir(parents=True)
        for outside in (around / "outside", around / "deep/outside"):
            outside.mkdir()
            (outside / "a").write_bytes(b"own")
        for path, target in planted.items():
            with contextlib.suppress(OSError, RuntimeError):  # the latter for links in a circle
                if (place / path).parent.resolve().is_relative_to(place):
                    (place / path).parent.mkdir(exist_ok=True)
                    (place / path).symlink_to(target)
        entries = tuple(FileEntry(path, 1, 1, 0o644, SHA_OF_X) for path in files)
        made = tuple(FolderEntry(path, 0o777, 7) for path in folders)
        manifest = Manifest("20270101T000000Z", "/s", 1.0, entries, made, links)
        publish(around / "target", manifest, {SHA_OF_X: b"x"})

        def rest() -> dict[str, Thing]:
            return {path: each for path, each in described(around).items() if "place/" not in path}

        before = rest()
        with contextlib.suppress(AiidpdError):
            result = restore(around / "target", place, snapshot=manifest.snapshot, conflicts=conflicts)
            assert result.written or result.refused.count
        after = rest()
        assert {path: each for path, each in after.items() if path != "deep/place"} == {
            path: each for path, each in before.items() if path != "deep/place"
        }


@pytest.mark.parametrize("twice", ["file", "folder", "link"])
def test_a_manifest_that_names_a_path_twice_is_refused(tmp_path: Path, twice: str):
    file = FileEntry("a", 1, 1, 0o644, "0" * 64)
    manifest = Manifest("20270101T000000Z", "/s", 1.0, (file, file) if twice == "file" else (file,))
    if twice == "folder":
        manifest = replace(manifest, folders=(FolderEntry("a", 0o755, 1),))
    elif twice == "link":
        manifest = replace(manifest, links={"a": "b"})
    publish(tmp_path / "target", manifest, {})
    with pytest.raises(Unavailable, match="names a path twice"):
        restore(tmp_path / "target", tmp_path / "new", snapshot=manifest.snapshot)


@pytest.mark.parametrize("conflicts", ["refuse", "skip", "overwrite"])
def test_a_link_of_the_manifest_leads_no_write_outside(tmp_path: Path, conflicts: str):
    outside = tmp_path / "outside"
    outside.mkdir()
    entries = tuple(FileEntry(path, 1, 1, 0o644, SHA_OF_X) for path in ("good", "out/evil", "good/evil"))
    manifest = Manifest("20270101T000000Z", "/s", 1.0, entries, links={"out": str(outside)})
    publish(tmp_path / "target", manifest, {SHA_OF_X: b"x"})
    result = restore(tmp_path / "target", tmp_path / "new", conflicts=conflicts)
    assert set(result.refused.first) == {"out/evil", "good/evil"}
    assert result.written == (conflicts == "skip")
    if result.written:
        assert (tmp_path / "new/good").read_bytes() == b"x"
        assert (tmp_path / "new/out").readlink() == outside
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("conflicts", ["refuse", "skip", "overwrite"])
@pytest.mark.parametrize("planted", ["hub", "hub/blobs", MODEL])
def test_a_link_in_the_destination_leads_no_write_outside(
    site: Site, tmp_path: Path, planted: str, conflicts: str
):
    site.backup()
    outside, place = tmp_path / "outside", tmp_path / "place"
    (outside / "blobs").mkdir(parents=True)
    (place / planted).parent.mkdir(parents=True)
    (place / planted).symlink_to(outside if planted != MODEL else outside / "evil")
    before = described(outside)
    result = restore(site.target, place, conflicts=conflicts)
    assert result.refused.count or conflicts == "overwrite"
    assert described(outside) == before
    assert (result.written and (place / MODEL).is_file() and not (place / MODEL).is_symlink()) == (
        planted == MODEL and conflicts == "overwrite"
    )


def test_a_folder_that_becomes_a_link_meanwhile_leads_no_write_outside(site: Site, tmp_path: Path):
    site.backup()
    outside, place = tmp_path / "outside", tmp_path / "place"
    outside.mkdir()

    def plant() -> None:
        (place / "hub").rename(tmp_path / "moved")
        (place / "hub").symlink_to(outside)

    result = restore(site.target, place, AtFile("restoring", plant))
    assert MODEL in result.failed.first
    assert described(outside) == {}


def test_a_set_user_bit_of_a_manifest_is_dropped(tmp_path: Path):
    manifest = Manifest("20270101T000000Z", "/s", 1.0, (FileEntry("a", 1, 1, 0o6755, SHA_OF_X),))
    publish(tmp_path / "target", manifest, {SHA_OF_X: b"x"})
    restore(tmp_path / "target", tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new/a").stat().st_mode) == 0o755


def test_a_manifest_with_impossible_names_and_numbers_is_survived(tmp_path: Path):
    entries = (
        FileEntry("good", 1, 1, 0o644, SHA_OF_X),
        FileEntry("time", 1, 10**30, 0o644, SHA_OF_X),
        FileEntry("n" * 300, 1, 1, 0o644, SHA_OF_X),
        FileEntry("/".join("a" * 3000), 1, 1, 0o644, SHA_OF_X),
        FileEntry("/".join("b" * 400), 1, 1, 0o644, SHA_OF_X),
    )
    folders = (FolderEntry("folder", -1, -(10**30)),)
    links = {"empty": ""}
    manifest = Manifest("20270101T000000Z", "/s", 1.0, entries, folders, links)
    publish(tmp_path / "target", manifest, {SHA_OF_X: b"x"})
    result = restore(tmp_path / "target", tmp_path / "new", conflicts="skip")
    assert set(result.failed.first) == {"n" * 300, "empty"}
    assert set(result.refused.first) == {"/".join("a" * 3000)}
    assert set(result.noted.first) == {"time", "folder"}
    assert result.restored_files == 3
    assert stat.S_IMODE((tmp_path / "new/b").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["\ud800", "a\0b"])
def test_a_manifest_with_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str):
    manifest = Manifest("20270101T000000Z", "/s", 1.0, links={"a": name})
    publish(tmp_path / "target", manifest, {})
    with pytest.raises(Unavailable, match="a name that no file can have"):
        restore(tmp_path / "target", tmp_path / "new", snapshot=manifest.snapshot)


# Damage


def test_a_damaged_file_comes_from_another_snapshot_or_is_named_and_the_rest_goes_on(
    site: Site, tmp_path: Path
):
    first = site.backup().snapshot
    (site.source / "more").write_bytes(b"more")
    second = site.backup().snapshot
    manifest = site.manifest(second)
    sha256 = next(file.sha256 for file in manifest.files if file.path == MODEL)
    stored = site.files(second) / MODEL
    good = stored.read_bytes()
    stored.unlink()  # all three names were links of one file: now the newest snapshot has one of its own
    stored.write_bytes(b"\0" * len(good))
    result = restore(site.target, tmp_path / "healed")
    assert (tmp_path / "healed" / MODEL).read_bytes() == good
    assert f"objects/{sha256[:2]}/{sha256}" in result.healed.first[MODEL]
    site.store.object_path(sha256).unlink()
    result = restore(site.target, tmp_path / "older")
    assert (tmp_path / "older" / MODEL).read_bytes() == good
    assert f"snapshots/{first}/files/{MODEL}" in result.healed.first[MODEL]
    overwrite(site.files(first) / MODEL, good[:-1])
    result = restore(site.target, tmp_path / "lost")
    assert (result.restored_files, result.failed.count) == (3, 1)
    assert "it reads otherwise than it was stored" in result.failed.first[MODEL]
    assert f"it has {len(good) - 1} bytes in place of {len(good)}" in result.failed.first[MODEL]
    assert not (tmp_path / "lost" / MODEL).exists()
    assert unfinished(tmp_path / "lost") == []


def test_a_damaged_large_file_is_not_put_in_place(tmp_path: Path):
    site = Site(tmp_path / "source", tmp_path / "target")
    site.source.mkdir()
    site.target.mkdir()
    (site.source / "large").write_bytes(os.urandom(9 << 20))
    snapshot = site.backup().snapshot
    (site.files(snapshot) / "large").chmod(0o600)  # it is read-only, which binds whoever is not root
    with (site.files(snapshot) / "large").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"flip")
    result = restore(site.target, tmp_path / "new")
    assert list(result.failed.first) == ["large"]
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("name", [MANIFEST, SUMS])
def test_a_manifest_that_is_not_as_it_was_written_is_not_followed(site: Site, tmp_path: Path, name: str):
    def flipped(text: bytes) -> bytes:
        line = text.splitlines(keepends=True)[-1]
        return text.removesuffix(line) + line.replace(line[:20], b"0" * 20)

    snapshot = site.backup().snapshot
    file = site.target / "snapshots" / snapshot / name
    text = file.read_bytes()
    overwrite(file, text.replace(b'"mode": 420', b'"mode": 511') if name == MANIFEST else flipped(text))
    with pytest.raises(Unavailable, match=r"manifest.json is not the one that SHA256SUMS lists"):
        restore(site.target, tmp_path / "new", snapshot=snapshot)
    with pytest.raises(NotFound, match=r"no whole snapshot; .* is broken: manifest.json is not the one"):
        restore(site.target, tmp_path / "new")


# What is in use, or can't be


def test_a_second_restore_to_a_folder_is_refused_and_a_run_waits(site: Site, tmp_path: Path):
    site.backup()
    site.store.patience = 0.0
    found = []

    def second() -> None:
        with pytest.raises(Conflict, match="another restore writes to it"):
            restore(site.target, tmp_path / "new")
        run = site.run()
        run.store._patience = 0.0
        with pytest.raises(Conflict, match="lock the backup target"):
            run.execute()
        found.append(restore(site.target, tmp_path / "other").restored_files)

    assert restore(site.target, tmp_path / "new", AtFile("restoring", second)).restored_files == 3
    assert found == [3]


@pytest.mark.parametrize("where", ["target", "target/inside", "target/snapshots", "."])
def test_a_folder_that_overlaps_with_the_target_is_refused(site: Site, where: str):
    site.backup()
    with pytest.raises(Misconfigured, match="overlap"):
        restore(site.target, site.target.parent / where)


def test_a_folder_that_can_not_be_made_is_refused(site: Site, tmp_path: Path):
    site.backup()
    for where in (tmp_path / "missing/new", tmp_path / "source/config.json"):
        with pytest.raises(Unavailable, match="cannot restore to"):
            restore(site.target, where)
    with pytest.raises(Misconfigured, match="not absolute"):
        restore(site.target, Path("relative"))
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(site.target / "aiidpd-backup.json", other)
    with pytest.raises(Misconfigured, match="it is a backup target"):
        restore(site.target, other)


def test_too_little_room_is_refused_before_anything_is_written(site: Site, tmp_path: Path):
    site.backup()
    with pytest.raises(Unavailable, match="are needed with the reserve"):
        restore(site.target, tmp_path / "new", reserve=1 << 60)
    assert described(tmp_path / "new") == {}


@pytest.fixture
def small_disk(tmp_path: Path, missing: Callable[[str, str], None]) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False).returncode:
        missing("tmpfs that may be mounted", "be root, outside of containers")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_leaves_nothing_half_and_the_next_restore_goes_on(
    tmp_path: Path, small_disk: Path
):
    site = Site(tmp_path / "source", tmp_path / "target")
    site.target.mkdir()
    fill(site.source, 1, count=24, size=400_000)
    site.backup()
    with pytest.raises(Unavailable, match="are needed with the reserve"):
        restore(site.target, small_disk)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)

    def grow_something_else() -> None:
        (small_disk / "other").write_bytes(bytes(6 << 20))

    with pytest.raises(Unavailable, match="No space left on device; free space there"):
        restore(site.target, small_disk, AtFile("restoring", grow_something_else))
    whole = described(site.source)
    (small_disk / "other").unlink()
    for path, thing in described(small_disk).items():
        if stat.S_ISREG(thing.kind):
            assert thing.content == whole[path].content
    assert unfinished(small_disk) == []
    assert restore(site.target, small_disk).failed.count == 0
    assert {path: each.content for path, each in whole.items()}.items() <= {
        path: each.content for path, each in described(small_disk).items()
    }.items()


def as_nobody(target: Path, place: Path) -> dict:
    """Restore in a process without rights; return its line."""
    program = (
        "import os, sys\nos.setgid(65534); os.setuid(65534)\n"
        "from aiidpd.components.backup.process.__main__ import main\nos._exit(main())"
    )
    request = json.dumps(
        {
            "kind": "restore",
            "target": str(target),
            "destination": str(place),
            "snapshot": "",
            "source": "",
            "paths": [],
            "conflicts": "refuse",
            "trust": False,
            "owner": False,
            "xattrs": True,
            "reserve": 0,
            "rate": 0,
            "dry_run": False,
        }
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request + "\n")
        process.stdin.flush()
        lines = [json.loads(line) for line in process.stdout]
    return lines[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_a_folder_without_permission_is_refused_and_one_inside_is_named(site: Site):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder lets nobody else in
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(site.source, folder / "source", symlinks=True)
        (folder / "target").mkdir()
        Site(folder / "source", folder / "target").backup()
        place = folder / "place"
        place.mkdir()
        line = as_nobody(folder / "target", place)
        assert line["failure"]["reason"] == "it may not be written to"
        place.chmod(0o777)
        (place / "hub").mkdir(mode=0o755)
        (place / "config.json").write_bytes(b"{}")
        result = as_nobody(folder / "target", place)["restore"]
        assert set(result["failed"]["first"]) == {"hub/blobs", "hub/snapshots", MODEL, "hub/snapshots/model"}
        assert result["failed"]["first"]["hub/blobs"] == os.strerror(errno.EACCES)
        assert (result["restored_files"], result["same_files"]) == (1, 1)
        fault = f"its time can't be set: {os.strerror(errno.EPERM)}"
        assert result["noted"]["first"]["config.json"] in (fault, fault.replace("time", "mode"))


# Ends


def test_a_cancelled_restore_leaves_whole_files_alone(tmp_path: Path):
    site = Site(tmp_path / "source", tmp_path / "target")
    site.target.mkdir()
    fill(site.source, 1, count=300)
    site.backup()
    control = Control()

    def cancel() -> None:
        control.cancelled = True

    outer = AtFile("restoring", cancel)
    outer_step = outer.step

    def step(count: int = 0) -> None:
        outer.cancelled = control.cancelled
        outer_step(count)

    outer.step = step  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        restore(site.target, tmp_path / "new", outer)
    assert unfinished(tmp_path / "new") == []
    assert restore(site.target, tmp_path / "new").written
    assert described(tmp_path / "new") == described(site.source)


def test_what_a_killed_restore_has_left_is_removed_and_nothing_else(site: Site, tmp_path: Path):
    site.backup()
    place = tmp_path / "place"
    (place / "hub/blobs").mkdir(parents=True)
    (place / PART).write_bytes(b"half")
    (place / "hub/blobs" / PART).symlink_to("anything")
    own = place / "hub/blobs/.aiidpd-restore-mine.part"
    own.touch()
    result = restore(site.target, place)
    assert result.leftovers == 2
    assert unfinished(place) == [own]
