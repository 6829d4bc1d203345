"""Copying on real files. A Control that acts at a step stands for the world that goes on meanwhile."""

import hashlib
import mmap
import os
import random
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from aiidpd.components.backup.cancel import Cancelled, RunControl
from aiidpd.components.backup.copy import BLOCK, WINDOW, Copier
from aiidpd.components.backup.faults import SourceChanged
from aiidpd.components.backup.plan import Entry, Kind
from aiidpd.components.backup.scan import entry_of, scan

from aiidpd.kernel.errors import Unavailable


class Meddling(RunControl):
    """Does something once, after the first block."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self._action: Callable[[], object] | None = action

    def step(self, count: int = 0) -> None:
        super().step(count)
        if count and self._action is not None:
            action, self._action = self._action, None
            action()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


def fill(path: Path, size: int) -> bytes:
    data = random.Random(size).randbytes(size)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_the_copy_is_the_same_bytes_with_its_digest_time_and_a_read_only_mode(source: Path, size: int):
    data = fill(source / "model", size)
    (source / "model").chmod(0o664)
    os.utime(source / "model", ns=(1, 1_234_567_891_234_567_891))
    control = RunControl()
    with Copier(control) as copier:
        digest = copier.copy(source, entry_of(source, "model"), source.parent / "copy")
        assert copier.digest(source.parent / "copy", "model") == (digest, size)
    copied = source.parent / "copy"
    assert copied.read_bytes() == data
    assert digest == hashlib.sha256(data).hexdigest()
    assert stat.S_IMODE(copied.stat().st_mode) == 0o444
    assert copied.stat().st_mtime_ns == 1_234_567_891_234_567_891
    assert control.progress.bytes_done == 2 * size


def test_a_file_that_is_flushed_on_the_way_is_whole(source: Path):
    with (source / "model").open("wb") as file:
        file.truncate(WINDOW + BLOCK + 1)  # a hole costs no time to write
        file.seek(WINDOW - 5)
        file.write(b"not zero at all")
    with Copier(RunControl()) as copier:
        copied = copier.copy(source, entry_of(source, "model"), source.parent / "copy")
        assert copier.digest(source / "model", "model")[0] == copied


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite_keeping_size_and_time(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def shorten(path: Path) -> None:
    os.truncate(path, BLOCK)


@pytest.mark.parametrize("change", [touch, append, rewrite_keeping_size_and_time, shorten])
def test_a_file_that_changes_while_it_is_read_is_an_error_and_leaves_nothing(
    source: Path, change: Callable[[Path], None]
):
    model = source / "model"
    fill(model, 3 * BLOCK)
    entry = entry_of(source, "model")
    with Copier(Meddling(lambda: change(model))) as copier, pytest.raises(SourceChanged):
        copier.copy(source, entry, source.parent / "copy")
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def test_a_file_that_is_replaced_by_rename_is_copied_as_it_was(source: Path):
    old = fill(source / "model", 3 * BLOCK)
    fill(source / "new", 10)
    control = Meddling(lambda: (source / "new").rename(source / "model"))
    with Copier(control) as copier:
        try:
            copier.copy(source, entry_of(source, "model"), source.parent / "copy")
        except SourceChanged:  # its change time moved, when it lost its name
            assert not (source.parent / "copy").exists()
        else:
            assert (source.parent / "copy").read_bytes() == old


@pytest.mark.parametrize("kind", ["gone", "link", "pipe", "other size", "other time"])
def test_what_is_not_the_file_that_was_listed_is_not_copied(source: Path, kind: str):
    model = source / "model"
    fill(model, 10)
    entry = entry_of(source, "model")
    if kind == "other size":
        append(model)
    elif kind == "other time":
        touch(model)
    else:
        model.unlink()
        if kind == "link":
            model.symlink_to("/etc/passwd")
        elif kind == "pipe":
            os.mkfifo(model)
    with Copier(RunControl()) as copier, pytest.raises((SourceChanged, Unavailable)):
        copier.copy(source, entry, source.parent / "copy")
    assert not (source.parent / "copy").exists()


def test_it_stops_between_two_blocks_and_leaves_nothing(source: Path):
    fill(source / "model", 4 * BLOCK)

    def cancel() -> None:
        control.cancelled = True

    control = Meddling(cancel)
    with Copier(control) as copier, pytest.raises(Cancelled):
        copier.copy(source, entry_of(source, "model"), source.parent / "copy")
    assert not (source.parent / "copy").exists()
    assert control.progress.bytes_done == 2 * BLOCK


def test_it_never_overwrites(source: Path):
    fill(source / "model", 10)
    (source.parent / "copy").write_bytes(b"precious")
    with Copier(RunControl()) as copier, pytest.raises(Unavailable, match="File exists"):
        copier.copy(source, entry_of(source, "model"), source.parent / "copy")
    assert (source.parent / "copy").read_bytes() == b"precious"


def test_errors_name_the_file_and_the_side(source: Path):
    fill(source / "model", 10)
    entry = entry_of(source, "model")
    with Copier(RunControl()) as copier:
        with pytest.raises(Unavailable, match=r"cannot use the target model: No such file .*mounted"):
            copier.copy(source, entry, source / "no" / "folder")
        with pytest.raises(Unavailable, match=r"cannot read the source folder: Not a directory"):
            copier.copy(source / "model", Entry("folder", Kind.FILE), source / "copy")
        with pytest.raises(Unavailable, match="cannot use the target lost"):
            copier.digest(source / "lost", "lost")
        assert copier.copy(source, entry, source / "copy")  # an error spoils nothing for the next file


def test_its_threads_end_with_it(source: Path):
    fill(source / "model", 10)
    before = set(threading.enumerate())
    with Copier(RunControl()) as copier:
        copier.copy(source, entry_of(source, "model"), source.parent / "copy")
        mine = set(threading.enumerate()) - before
        assert all(thread.daemon for thread in mine)
    for thread in mine:
        thread.join(5)
        assert not thread.is_alive()


def test_a_scan_finds_everything_and_follows_nothing(source: Path):
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").mkdir()
    fill(source / "deep" / "er" / "x", 3)
    (source / "link").symlink_to("deep")
    (source / os.fsdecode(b"\xff\n")).touch()
    os.mkfifo(source / "pipe")
    steps: list[int] = []
    found = {entry.path: entry for entry in scan(source, lambda: steps.append(1))}
    assert {path: entry.kind for path, entry in found.items()} == {
        "deep/er/x": Kind.FILE,
        "link": Kind.SYMLINK,
        "pipe": Kind.SPECIAL,
        "\udcff\n": Kind.FILE,
    }
    assert found["deep/er/x"].size == 3
    assert found["link"].target == "deep"
    assert len(steps) >= len(found)


def test_a_scan_tells_a_folder_that_it_cannot_read(source: Path):
    entries = list(scan(source / "absent", lambda: None))
    assert [(entry.path, entry.kind, entry.note) for entry in entries] == [
        (".", Kind.UNREADABLE, "No such file or directory")
    ]


def test_a_write_that_was_under_way_and_leaves_the_times_alone_is_noticed_in_a_fresh_file(source: Path):
    model = source / "model"
    fill(model, 3 * BLOCK)
    # A mapped page that is dirty is written without a change of the file's times, as by a write under way.
    with model.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] ^= 1
        entry = entry_of(source, "model")

        def change() -> None:
            mapped[0] ^= 1

        with Copier(Meddling(change)) as copier, pytest.raises(SourceChanged, match="while it was read"):
            copier.copy(source, entry, source.parent / "copy")
    assert not (source.parent / "copy").exists()


def test_the_second_reading_of_a_fresh_file_is_no_progress(source: Path):
    fill(source / "model", BLOCK + 1)
    control = RunControl()
    control.enter("copying", files=1, total=BLOCK + 1)
    with Copier(control) as copier:
        copier.copy(source, entry_of(source, "model"), source.parent / "copy")
    assert control.progress.bytes_done == BLOCK + 1
