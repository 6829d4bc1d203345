"""Copying on other real file systems: XFS and btrfs, which share extents, and a small ext4 that fills up."""

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.lane import SMALL
from aiidpd.kernel.errors import Unavailable
from tests.fakes.copying import copy_all
from tests.fakes.file_systems import HOW_TO_GET, mounted
from tests.fakes.page_cache import cached_bytes, evict

pytestmark = pytest.mark.real("loop")
MEBIBYTE = 1024 * 1024


@pytest.fixture(params=["xfs", "btrfs", "ext4"])
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, missing: Callable[[str, str], None]
) -> Iterator[tuple[str, Path]]:
    with mounted(request.param, tmp_path) as point:
        if point is None:
            missing(f"{request.param} on a loop device", HOW_TO_GET)
        yield request.param, Path(str(point))


def fill(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    sizes = {"big": 40 * MEBIBYTE + 5, "middle": SMALL + 1, "small": 5000, "empty": 0}
    data = {name: os.urandom(size) for name, size in sizes.items()}
    for name, content in data.items():
        (folder / name).write_bytes(content)
        evict(folder / name)
    return data


def used(point: Path) -> int:
    os.sync()
    status = os.statvfs(point)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def shared_extents(path: Path) -> bool:
    found = subprocess.run(["filefrag", "-v", str(path)], check=True, capture_output=True, text=True)
    return "shared" in found.stdout


@pytest.mark.parametrize("resumable", [MEBIBYTE, 1 << 40])
def test_a_copy_on_the_same_file_system_shares_its_bytes_where_it_can(disk: tuple[str, Path], resumable: int):
    kind, point = disk
    data = fill(point / "source")
    before = used(point)
    found = copy_all(point / "source", point / "target", Control(), resumable=resumable)
    for name, content in data.items():
        assert found[name] == [hashlib.sha256(content).hexdigest(), len(content)]
        copied = point / "target" / "files" / name
        assert copied.read_bytes() == content
        assert copied.stat().st_mtime_ns == (point / "source" / name).stat().st_mtime_ns
        assert copied.stat().st_mode & 0o777 == 0o444
    if kind == "ext4":
        assert used(point) - before > 40 * MEBIBYTE
    else:
        assert shared_extents(point / "target" / "files" / "big")
        assert used(point) - before < 10 * MEBIBYTE
    with (point / "source" / "big").open("r+b") as file:
        file.write(b"an edit in place")
    assert (point / "target" / "files" / "big").read_bytes() == data["big"]


def test_a_copy_to_another_file_system_leaves_no_cache_and_retains_holes(
    disk: tuple[str, Path], tmp_path: Path
):
    _, point = disk
    data = fill(tmp_path / "source")
    with (tmp_path / "source" / "sparse").open("wb") as file:
        file.truncate(200 * MEBIBYTE)
        file.seek(100 * MEBIBYTE)
        file.write(b"x" * MEBIBYTE)
    for source, target in (
        (tmp_path / "source", point / "there"),
        (point / "there/files", tmp_path / "back"),
    ):
        for path in source.iterdir():
            evict(path)
        found = copy_all(source, target, Control(), resumable=4 * MEBIBYTE)
        assert sum(map(cached_bytes, source.iterdir())) == 0
        assert sum(map(cached_bytes, (target / "files").iterdir())) <= 16 * MEBIBYTE
        for name, content in data.items():
            assert found[name] == [hashlib.sha256(content).hexdigest(), len(content)]
            assert (target / "files" / name).read_bytes() == content
        sparse = target / "files" / "sparse"
        assert sparse.stat().st_size == 200 * MEBIBYTE
        assert sparse.stat().st_blocks * 512 <= 4 * MEBIBYTE
        with Copier(Control()) as copier:
            assert copier.digest(sparse, "sparse") == (found["sparse"][0], 200 * MEBIBYTE)


def test_a_disk_that_fills_up_leaves_nothing_but_what_can_be_resumed(disk: tuple[str, Path], tmp_path: Path):
    _, point = disk
    (tmp_path / "source").mkdir()
    with (tmp_path / "source" / "model").open("wb") as file:
        for _ in range(600):
            file.write(os.urandom(MEBIBYTE))
    before = used(point)
    with pytest.raises(Unavailable, match="its file system is full"):
        copy_all(tmp_path / "source", point / "target", Control(), resumable=MEBIBYTE)
    assert list((point / "target" / "files").iterdir()) == []
    assert list((point / "target" / "partial").iterdir()) == []
    assert used(point) - before < 20 * MEBIBYTE
