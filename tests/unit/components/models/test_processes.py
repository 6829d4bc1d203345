"""Who has a file open, on the real /proc: real processes that hold and map real files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiidpd.components.models.processes import open_files

OTHER = -1  # no process: those that a test starts are not the daemon's
HOLDS = "import sys; f = open(sys.argv[1], 'rb'); print(flush=True); sys.stdin.read()"
MAPS = (
    "import mmap, sys\nwith open(sys.argv[1], 'rb') as f:\n"
    " m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
    "print(flush=True); sys.stdin.read()"
)


@contextmanager
def process(program: str, path: Path) -> Iterator[int]:
    child = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
    finally:
        child.communicate()


@pytest.mark.parametrize("program", [HOLDS, MAPS])
@pytest.mark.parametrize("name", ["model.gguf", "of a\nline \udcff.gguf"])
def test_a_process_that_has_it_open_or_mapped_is_found(tmp_path: Path, program: str, name: str) -> None:
    path, other = tmp_path / name, tmp_path / "other"
    for each in (path, other):
        each.write_bytes(b"x" * 100_000)
    found = path.stat()
    wanted = {(found.st_dev, found.st_ino), (other.stat().st_dev, other.stat().st_ino)}
    assert open_files(wanted, {name, "other"}, own=OTHER).files == ()
    with process(program, path) as pid:
        (seen,) = open_files(wanted, {name, "other"}, own=OTHER).files
        assert (seen.pid, seen.identity) == (pid, (found.st_dev, found.st_ino))
        assert seen.program.startswith("python")
        assert seen.container == ""


def test_where_the_device_is_another_the_name_decides(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x" * 100_000)
    elsewhere = (12345, path.stat().st_ino)
    with process(MAPS, path) as pid:
        assert [each.pid for each in open_files({elsewhere}, {"model.gguf"}, own=OTHER).files] == [pid]
        assert open_files({elsewhere}, {"another"}, own=OTHER).files == ()


def test_processes_that_may_not_be_read_are_counted(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "7").mkdir(parents=True)
    (proc / "7" / "cmdline").write_bytes(b"secret\0")
    (proc / "7" / "maps").mkdir()  # an OSError, as one of the kernel's
    (proc / "8").mkdir()
    (proc / "8" / "cmdline").write_bytes(b"")  # of the kernel itself
    (proc / "self").symlink_to("7")
    found = open_files({(1, 2)}, set(), proc)
    assert (found.files, found.unreadable) == ((), 1)


def test_neither_the_daemon_itself_nor_what_it_started_counts(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        wanted = {(found.st_dev, found.st_ino)}
        assert [each.pid for each in open_files(wanted, {"model"}, own=OTHER).files] == [os.getpid()]
        assert open_files(wanted, {"model"}).files == ()
    within = [sys.executable, "-c", HOLDS, str(path)]
    starts = f"import subprocess, sys; sys.exit(subprocess.call({within!r}))"
    with process(starts, path) as pid:
        (seen,) = open_files(wanted, {"model"}, own=OTHER).files
        assert seen.pid != pid
        assert open_files(wanted, {"model"}).files == ()
