"""Markers: which folder is filled, and which is not."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process import marker
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.marker import Found, Marker, Verdict, decide, load_marker
from aiidpd.components.backup.process.requests import VerifyRequest
from aiidpd.components.backup.process.verify import Verification
from aiidpd.kernel.errors import Unavailable
from tests.unit.components.backup.conftest import Site

OURS = Marker("a" * 36, 1.0)


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        (Found(OURS, "", "", snapshots=True, empty=False), Verdict.USE, ""),
        (Found(OURS, OURS.id, "", snapshots=True, empty=False), Verdict.USE, ""),
        (Found(OURS, "b" * 36, "", snapshots=True, empty=False), Verdict.REFUSE, "another target (aaaaaaaa)"),
        (Found(Marker("a", 1.0, 3), "", "", snapshots=True, empty=False), Verdict.REFUSE, "newer aiidpd"),
        (Found(None, "", "", snapshots=False, empty=True), Verdict.CREATE, ""),
        (Found(None, "", "", snapshots=True, empty=False), Verdict.CREATE, ""),  # of format 1
        (Found(None, "", "", snapshots=False, empty=False), Verdict.REFUSE, "holds other files"),
        (Found(None, OURS.id, "", snapshots=False, empty=True), Verdict.REFUSE, "not the folder that holds"),
        (Found(None, "", "/mnt", snapshots=False, empty=True), Verdict.REFUSE, "/mnt is not mounted"),
    ],
)
def test_decisions(found: Found, verdict: Verdict, words: str) -> None:
    decided, reason, remedy = decide(found)
    assert decided is verdict
    assert words in reason
    assert bool(remedy) is (verdict is Verdict.REFUSE)


@given(
    st.binary(max_size=60) | st.dictionaries(st.sampled_from(["id", "created_at", "format"]), st.integers())
)
def test_any_file_is_a_marker_or_refused(data: bytes | dict[str, int]) -> None:
    try:
        found = load_marker(data if isinstance(data, bytes) else json.dumps(data).encode())
    except ValueError:
        return
    assert found.id


def test_the_first_run_marks_the_target_and_the_next_ones_find_it(site: Site) -> None:
    first = site.backup()
    assert marker.read_marker(site.target) == Marker(first.target, site.now)
    (site.source / "new").write_bytes(b"new")
    site.options["expected"] = first.target
    assert site.backup().target == first.target


def test_a_target_that_is_not_mounted_is_not_filled(site: Site) -> None:
    site.options["expected"] = site.backup().target
    site.target.rename(site.target.with_name("elsewhere"))
    site.target.mkdir()  # the empty folder on which it was mounted
    with pytest.raises(Unavailable, match=r"it has no aiidpd-backup\.json: .* mount the disk"):
        site.backup()
    with pytest.raises(Unavailable, match=r"it has no aiidpd-backup\.json: .* mount the disk"):
        Verification(VerifyRequest(str(site.target), expected=site.options["expected"]), Control()).execute()
    assert list(site.target.iterdir()) == []
    site.options["adopt"] = True
    assert site.backup().copied_files == 3


def test_another_disk_is_not_filled_by_mistake(site: Site) -> None:
    site.options["expected"] = "b" * 36
    other = marker.create(site.target, 1.0)
    with pytest.raises(Unavailable, match="another target"):
        site.backup()
    site.options["adopt"] = True
    assert site.backup().target == other.id


def test_a_folder_with_other_files_is_adopted_only_on_request(site: Site) -> None:
    (site.target / "photos").mkdir()
    with pytest.raises(Unavailable, match=r"it holds other files .* `aiidpctl backup adopt`"):
        site.backup()
    site.options["adopt"] = True
    assert site.backup().files == 3
    assert (site.target / "photos").is_dir()


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]"])
def test_a_damaged_marker_is_named_and_nothing_is_written(site: Site, content: bytes) -> None:
    site.backup()
    (site.target / marker.MARKER).write_bytes(content)
    with pytest.raises(Unavailable, match=r"use the backup target .* adopt"):
        site.backup()


def test_mount_points_that_are_not_mounted(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    disk = tmp_path / "my disk"
    (disk / "backup").mkdir(parents=True)
    name = os.fspath(disk).replace(" ", "\\040")
    fstab.write_text(f"# comment\n\nUUID=1 / ext4 defaults 0 1\nUUID=2 {name} ext4 noauto 0 2\nnone swap\n")
    found = marker.examine(disk / "backup", "", fstab)
    assert found.unmounted == os.fspath(disk)
    assert found.empty
    assert marker.examine(tmp_path, "", fstab).unmounted == ""
    assert marker.examine(disk / "backup", "", tmp_path / "none").unmounted == ""
    assert marker.unmounted_above(Path("/proc/self"), ["/proc", "/"]) == ""


def test_lost_and_found_does_not_fill_a_target(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert marker.examine(tmp_path, "").empty
