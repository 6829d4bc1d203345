import stat
import threading
from pathlib import Path

import pytest

from aiidpd.platform.atomic import fsync_directory, write_atomic


def test_writes_content_and_mode_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "state.json"
    write_atomic(path, b"one", mode=0o640)
    write_atomic(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_replaces_a_link_and_does_not_follow_it(tmp_path: Path):
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("other")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "other").read_bytes() == b"kept"
    assert not (tmp_path / "link").is_symlink()


def test_an_error_leaves_the_old_content_and_no_temporary_file(tmp_path: Path):
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "inside").touch()
    with pytest.raises(IsADirectoryError):
        write_atomic(folder, b"a folder can't be replaced by a file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_a_name_of_the_greatest_length_works(tmp_path: Path):
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_reader_never_sees_half_a_file(tmp_path: Path):
    path = tmp_path / "file"
    versions = {bytes([value]) * 200_000 for value in b"abc"}
    write_atomic(path, next(iter(versions)))
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        for version in versions:
            write_atomic(path, version)
    stop.set()
    reader.join()
    assert seen <= versions


def test_fsync_directory_refuses_a_file(tmp_path: Path):
    (tmp_path / "file").touch()
    fsync_directory(tmp_path)
    with pytest.raises(NotADirectoryError):
        fsync_directory(tmp_path / "file")
