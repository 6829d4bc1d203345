"""Copying on real files. A Control that acts at a step stands for the world that goes on meanwhile."""

import hashlib
import mmap
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.copy import BATCH, Copied, Copier, Outcome
from aiidpd.components.backup.process.faults import SourceChanged, SourceUnreadable
from aiidpd.components.backup.process.lane import SMALL
from aiidpd.components.backup.process.pipeline import BLOCK, DEPTH
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.scan import entry_of
from aiidpd.components.backup.process.syscalls import is_cached
from aiidpd.kernel.errors import Unavailable
from tests.fakes.copying import copy_all
from tests.fakes.page_cache import cached_bytes, cached_pages, evict, lets_go, warm
from tests.unprivileged import as_nobody

MEBIBYTE = 1024 * 1024
LONG = (DEPTH + 2) * BLOCK  # what is read of it in advance leaves a part


class Meddling(Control):
    """Does something once, after the first block."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self._action: Callable[[], object] | None = action

    def step(self, count: int = 0) -> None:
        super().step(count)
        if count and self._action is not None:
            action, self._action = self._action, None
            action()


def fill(path: Path, size: int) -> bytes:
    data = random.Random(size).randbytes(size)
    path.write_bytes(data)
    return data


def copy(source: Path, entry: Entry, control: Control | None = None, **options: int) -> Outcome:
    """Copy one file to "copy" beside the source."""
    (source.parent / "partial").mkdir(exist_ok=True)
    with Copier(control or Control(), **options) as copier:
        jobs = [(entry, source.parent / "copy")]
        ((_, outcome),) = copier.copy_many(source, jobs, source.parent / "partial")
        return outcome


def beside(source: Path) -> set[str]:
    """Return what lies beside the source, the content of partial/ too."""
    names = {path.name for path in source.parent.iterdir()} | {
        p.name for p in (source.parent / "partial").iterdir()
    }
    return names - {"source", "partial"}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o4755])
def test_a_copy_has_its_mode_whatever_the_mask_of_the_process(tmp_path: Path, mask: int, mode: int):
    source, partial = tmp_path / "source", tmp_path / "partial"
    for folder in (source, partial):
        folder.mkdir()
    jobs = []
    for name in ("a", "b"):
        (source / name).write_bytes(b"x")
        (source / name).chmod(mode)
        jobs.append((entry_of(source, name), tmp_path / f"copy-{name}"))
    before = os.umask(mask)
    try:
        with Copier(Control()) as copier:
            assert all(isinstance(each, Copied) for _, each in copier.copy_many(source, jobs, partial))
    finally:
        os.umask(before)
    for _, place in jobs:
        assert stat.S_IMODE(place.stat().st_mode) == (mode & 0o555) | 0o400


@pytest.mark.parametrize(
    "size", [0, 1, 4095, 4096, SMALL - 1, SMALL, SMALL + 1, BLOCK - 1, BLOCK, BLOCK + 1, LONG + 7]
)
@pytest.mark.parametrize("resumable", [1, 1 << 40])
def test_the_copy_is_the_same_bytes_with_its_digest_time_and_a_read_only_mode(
    source: Path, size: int, resumable: int
):
    data = fill(source / "model", size)
    (source / "model").chmod(0o664)
    os.utime(source / "model", ns=(1, 1_234_567_891_234_567_891))
    control = Control()
    outcome = copy(source, entry_of(source, "model"), control, resumable=resumable)
    copied = source.parent / "copy"
    assert outcome == Copied(hashlib.sha256(data).hexdigest(), {}, size)
    assert copied.read_bytes() == data
    assert stat.S_IMODE(copied.stat().st_mode) == 0o444
    assert copied.stat().st_mtime_ns == 1_234_567_891_234_567_891
    assert control.progress.bytes_done == size
    assert control.progress.files_done == 1
    assert beside(source) == {"copy"}
    with Copier(Control()) as copier:
        assert copier.digest(copied, "model") == (outcome.sha256, size)
        assert copier.digest_source(source, entry_of(source, "model")) == outcome.sha256


def test_many_files_of_all_sizes_are_copied_and_hashed(source: Path):
    numbers = random.Random(3)
    wanted = {}
    for index in range(5 * BATCH + 3):
        size = numbers.choice([0, 1, 5000, 60_000, SMALL, SMALL + 1, BLOCK + 5])
        folder = source / str(index % 3)
        folder.mkdir(exist_ok=True)
        path = folder / str(index)
        wanted[str(path.relative_to(source))] = (hashlib.sha256(fill(path, size)).hexdigest(), size)
    for lanes in (1, 2):
        control = Control()
        target = source.parent / f"target{lanes}"
        found = copy_all(source, target, control, lanes=lanes)
        assert {path: tuple(outcome) for path, outcome in found.items()} == wanted
        assert control.progress.files_done == len(wanted)
        assert control.progress.bytes_done == sum(size for _, size in wanted.values())
    with Copier(Control()) as copier:
        jobs = [(target / "files" / path, path) for path in wanted] + [(target / "lost", "lost")]
        digests = {name: digest for (_, name), digest in copier.digest_many(jobs)}
        assert isinstance(digests.pop("lost"), Unavailable)
        assert digests == wanted


def test_extended_attributes_are_read_where_it_is_ordered(source: Path):
    fill(source / "model", 10)
    os.setxattr(source / "model", "user.origin", b"hub")
    with Copier(Control(), xattrs=True) as copier:
        ((_, outcome),) = copier.copy_many(
            source, [(entry_of(source, "model"), source.parent / "copy")], source.parent
        )
    assert isinstance(outcome, Copied)
    assert outcome.xattrs == {"user.origin": "aHVi"}


# What changes


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


@pytest.mark.parametrize("resumable", [1, 1 << 40])
@pytest.mark.parametrize("change", [touch, append, rewrite_keeping_size_and_time, shorten])
def test_a_file_that_changes_while_it_is_read_is_no_copy_and_leaves_nothing(
    source: Path, change: Callable[[Path], None], resumable: int
):
    model = source / "model"
    fill(model, LONG)
    control = Meddling(lambda: change(model))
    outcome = copy(source, entry_of(source, "model"), control, resumable=resumable, note_every=BLOCK)
    assert isinstance(outcome, SourceChanged)
    assert beside(source) == set()


def test_a_file_that_is_replaced_by_rename_is_copied_as_it_was_or_has_changed(source: Path):
    old = fill(source / "model", LONG)
    fill(source / "new", 10)
    control = Meddling(lambda: (source / "new").rename(source / "model"))
    if isinstance(copy(source, entry_of(source, "model"), control), Copied):
        assert (source.parent / "copy").read_bytes() == old
    else:  # its change time moved, when it lost its name
        assert not (source.parent / "copy").exists()


@pytest.mark.parametrize("size", [10, SMALL + 1])
@pytest.mark.parametrize(
    "kind", ["gone", "link", "pipe", "socket", "folder", "larger", "smaller", "time", "inode"]
)
def test_what_is_not_the_file_that_was_listed_is_not_copied(source: Path, kind: str, size: int):
    model = source / "model"
    data = fill(model, size)
    entry = entry_of(source, "model")
    if kind == "larger":
        append(model)
    elif kind == "smaller":
        os.truncate(model, size - 1)
    elif kind == "time":
        touch(model)
    elif kind == "inode":
        (source / "other").write_bytes(data)
        os.utime(source / "other", ns=(entry.mtime_ns, entry.mtime_ns))
        (source / "other").rename(model)
    else:
        model.unlink()
        if kind == "link":
            model.symlink_to("/etc/passwd")
        elif kind == "pipe":
            os.mkfifo(model)
        elif kind == "socket":
            os.mknod(model, stat.S_IFSOCK | 0o600)
        elif kind == "folder":
            model.mkdir()
    assert isinstance(copy(source, entry, resumable=SMALL), SourceChanged)
    assert beside(source) == set()


def test_a_write_to_a_mapping_of_the_file_is_noticed(source: Path):
    model = source / "model"
    fill(model, LONG)
    entry = entry_of(source, "model")
    with model.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:

        def change() -> None:
            mapped[0] ^= 1

        outcome = copy(source, entry, Meddling(change))
    assert isinstance(outcome, SourceChanged)
    assert beside(source) == set()


# Errors


def test_it_never_overwrites(source: Path):
    for size in (10, SMALL + 1, LONG):
        fill(source / "model", size)
        (source.parent / "copy").write_bytes(b"precious")
        with pytest.raises(Unavailable, match="File exists"):
            copy(source, entry_of(source, "model"), resumable=LONG)
        assert (source.parent / "copy").read_bytes() == b"precious"


def test_errors_name_the_file_and_the_side(source: Path):
    fill(source / "model", 10)
    entry = entry_of(source, "model")
    with Copier(Control()) as copier:
        with pytest.raises(Unavailable, match=r"cannot use the target model: No such file .*mounted"):
            list(copier.copy_many(source, [(entry, source / "no" / "folder")], source))
        with pytest.raises(Unavailable, match="cannot use the target lost"):
            copier.digest(source / "lost", "lost")
    outcome = copy(source / "model", Entry("folder", Kind.FILE))
    assert isinstance(outcome, SourceUnreadable)
    assert "cannot read the source folder: Not a directory" in str(outcome)


def test_an_error_spoils_nothing_for_the_next_file(source: Path):
    data = fill(source / "model", LONG)
    entry = entry_of(source, "model")
    with Copier(Control()) as copier, (source / "model").open("rb") as reading:
        full = os.open("/dev/full", os.O_WRONLY)
        for _ in range(3):
            with pytest.raises(Unavailable, match="its file system is full"):
                copier.pump(reading.fileno(), full, "model", None)
        os.close(full)
        assert copier.digest_source(source, entry) == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(os.geteuid() != 0, reason="changes to another user")
def test_a_file_that_may_not_be_read_is_named_and_the_others_are_copied(source: Path):
    for name in ("mine", "theirs"):
        fill(source / name, 10)
    (source / "mine").chmod(0o600)

    def act() -> None:
        found = copy_all(Path("source"), Path("target"), Control())
        assert "Permission denied" in found["mine"]
        assert found["theirs"][1] == 10

    assert as_nobody(act, source.parent) == ""


# The end of it


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_cancelled_copy_ends_in_the_middle_and_leaves_nothing(source: Path, lanes: int):
    fill(source / "model", 3 * LONG)

    def cancel() -> None:
        control.cancelled = True

    control = Meddling(cancel)
    with pytest.raises(Cancelled):
        copy(source, entry_of(source, "model"), control, lanes=lanes, rate=5 * LONG)
    assert beside(source) == set()
    assert control.progress.bytes_done < 3 * LONG


@pytest.mark.parametrize("size", [50_000, LONG])
def test_a_pause_holds_up_big_and_small_files_and_no_more(source: Path, size: int):
    for index in range(3 * BATCH if size < SMALL else 1):
        fill(source / str(index), size)

    def pause() -> None:
        control.paused = "an engine loads a model"
        threading.Timer(0.3, resume).start()

    def resume() -> None:
        paused.append(control.progress.bytes_done)
        control.paused = ""

    paused: list[int] = []
    control = Meddling(pause)
    found = copy_all(source, source.parent / "target", control)
    assert len(found) == len(list(source.iterdir()))
    assert paused
    assert control.progress.bytes_done == size * len(found)


@pytest.mark.parametrize("size", [50_000, 2_000_000])
def test_it_is_not_faster_than_the_rate(source: Path, size: int):
    for index in range(2_000_000 // size):
        fill(source / str(index), size)
    began = time.monotonic()
    copy_all(source, source.parent / "target", Control(), rate=4_000_000)
    assert time.monotonic() - began >= 0.5 - 0.1 - 4 * 65536 / 4_000_000


def test_its_threads_end_with_it(source: Path):
    for size in (10, LONG):
        fill(source / str(size), size)
    before = set(threading.enumerate())
    with Copier(Control(), lanes=2) as copier:
        for entry in (entry_of(source, "10"), entry_of(source, str(LONG))):
            for _ in copier.copy_many(source, [(entry, source.parent / entry.path)], source):
                mine = set(threading.enumerate()) - before
                assert all(thread.daemon for thread in mine)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_a_cancelled_copy_of_a_big_file_goes_on_where_it_was(source: Path):
    data = fill(source / "model", 3 * LONG + 5)
    entry = entry_of(source, "model")

    def cancel() -> None:
        control.cancelled = True

    control = Meddling(cancel)
    with pytest.raises(Cancelled):
        copy(source, entry, control, resumable=1)
    assert len(beside(source)) == 2
    control = Control()
    outcome = copy(source, entry, control, resumable=1)
    assert isinstance(outcome, Copied)
    assert outcome.sha256 == hashlib.sha256(data).hexdigest()
    assert outcome.read_bytes < len(data)
    assert control.progress.bytes_done <= len(data)
    assert (source.parent / "copy").read_bytes() == data
    assert beside(source) == {"copy"}


# Memory and cache


def test_half_of_the_source_in_the_cache_stays_there_and_nothing_comes_in(source: Path):
    size = 48 * MEBIBYTE
    for name in ("model", "small"):
        fill(source / name, size if name == "model" else 600_000)
    for path in (source / "model", source / "small"):
        evict(path)
        warm(path, 0, path.stat().st_size // 2)
    before = {path.name: cached_pages(path) for path in source.iterdir()}
    assert 0.4 < sum(before["model"]) / len(before["model"]) < 0.6
    found = copy_all(source, source.parent / "target", Control())
    assert len(found) == 2
    assert {path.name: cached_pages(path) for path in source.iterdir()} == before
    copies = source.parent / "target" / "files"
    assert cached_bytes(copies / "model") + cached_bytes(copies / "small") <= 16 * MEBIBYTE
    with Copier(Control()) as copier:
        copier.digest_source(source, entry_of(source, "model"))
        copier.digest(copies / "model", "model")
    assert {path.name: cached_pages(path) for path in source.iterdir()} == before
    assert cached_bytes(copies / "model") == 0


def test_a_digest_is_of_the_disk_and_not_of_what_somebody_holds_in_the_cache(on_disk: Path):
    source = on_disk
    data = fill(source / "model", LONG)
    evict(source / "model")
    with (source / "model").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        assert not is_cached(file.fileno())
        assert mapped[0] == data[0]  # a page that is mapped can't be taken out of the cache
        assert is_cached(file.fileno())
        with Copier(Control()) as copier:
            before = bytes_from_disks()
            assert copier.digest(source / "model", "model")[0] == hashlib.sha256(data).hexdigest()
            assert bytes_from_disks() - before >= LONG


def bytes_from_disks() -> int:
    """Return how much this process has had read from disks."""
    (line,) = (
        each for each in Path("/proc/self/io").read_text().splitlines() if each.startswith("read_bytes")
    )
    return int(line.split()[1])


@pytest.fixture
def on_disk(source: Path) -> Path:
    """Return the source where its file system lets go of what it has cached."""
    if not lets_go(source):
        pytest.skip("no file system here lets go of what it has cached")
    return source


def test_many_small_files_leave_no_more_behind(on_disk: Path):
    source = on_disk
    for index in range(400):
        fill(source / str(index), 60_000 + index)
    for path in source.iterdir():
        evict(path)
    copy_all(source, source.parent / "target", Control())
    os.sync()
    assert sum(map(cached_bytes, source.iterdir())) == 0
    assert sum(map(cached_bytes, (source.parent / "target" / "files").iterdir())) <= 16 * MEBIBYTE


def test_a_file_with_holes_takes_no_more_room_and_no_reading(source: Path):
    with (source / "model").open("wb") as file:
        file.truncate(1 << 30)
        for offset in (0, 300_000_000, (1 << 30) - 4096 * 3):
            file.seek(offset)
            file.write(os.urandom(4 * MEBIBYTE) if offset < 1 << 29 else b"x" * 4096)
        file.truncate(1 << 30)
    outcome = copy(source, entry_of(source, "model"))
    assert isinstance(outcome, Copied)
    copied = source.parent / "copy"
    with (source / "model").open("rb") as one, copied.open("rb") as other:
        assert hashlib.file_digest(one, "sha256").hexdigest() == outcome.sha256
        assert hashlib.file_digest(other, "sha256").hexdigest() == outcome.sha256
    assert copied.stat().st_size == 1 << 30
    assert copied.stat().st_blocks * 512 < 12 * MEBIBYTE
    assert outcome.read_bytes < 12 * MEBIBYTE


def test_a_small_file_with_holes_has_them_too(source: Path):
    with (source / "model").open("wb") as file:
        file.write(b"x")
        file.truncate(SMALL)
    outcome = copy(source, entry_of(source, "model"))
    assert isinstance(outcome, Copied)
    assert outcome.sha256 == hashlib.sha256((source / "model").read_bytes()).hexdigest()
    assert (source.parent / "copy").stat().st_blocks * 512 <= 65536


def test_pump_goes_from_where_both_are_and_leaves_the_other_at_its_end(source: Path):
    data = fill(source / "model", LONG + 3)
    with (source / "model").open("rb") as reading, (source / "out").open("wb", buffering=0) as writing:
        writing.write(b"head")
        os.lseek(reading.fileno(), 5, os.SEEK_SET)
        with Copier(Control()) as copier:
            found = copier.pump(reading.fileno(), writing.fileno(), "model", len(data) - 5)
            assert found == (hashlib.sha256(data[5:]).hexdigest(), len(data) - 5)
            writing.write(b"tail")
            os.lseek(reading.fileno(), 0, os.SEEK_SET)
            with pytest.raises(SourceChanged):
                copier.pump(reading.fileno(), None, "model", len(data) - 1)
    assert (source / "out").read_bytes() == b"head" + data[5:] + b"tail"


def test_memory_is_bounded_whatever_the_sizes(source: Path):
    for index in range(50):
        fill(source / f"small{index}", SMALL)
    for index in range(2):
        with (source / f"big{index}").open("wb") as file:
            for _ in range(100):
                file.write(os.urandom(MEBIBYTE))
    script = """
import resource, sys
from pathlib import Path
from tests.fakes.copying import copy_all, Control
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
copy_all(Path(sys.argv[1]), Path(sys.argv[2]), Control(), lanes=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    found = subprocess.run(
        [sys.executable, "-c", script, str(source), str(source.parent / "target")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(found.stdout) * 1024 <= 48 * MEBIBYTE
