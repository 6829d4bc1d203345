"""Copying where disks fail: reads and writes that end early, that fail in the middle, that are refused."""

import errno
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.partial import Draft
from tests.fakes.copying import files_of, run, start
from tests.fakes.faulty_files import faults
from tests.forms import examples
from tests.waiting import Stopwatch, until

pytestmark = pytest.mark.real("gcc")
MEBIBYTE = 1024 * 1024
BIG, SMALL = 9 * MEBIBYTE + 777, 50_001


@pytest.fixture
def files(source: Path) -> dict[str, bytes]:
    """Two files of the source, one on each way of copying."""
    made = {"model": os.urandom(BIG), "config": os.urandom(SMALL)}
    for name, data in made.items():
        (source / name).write_bytes(data)
    return made


@pytest.mark.parametrize(
    "rules",
    [
        ["read,,0,flags,0"],
        ["write,,0,flags,0"],
        ["open,,0,direct,0"],
        ["open,,0,direct,0", "read,,0,flags,0", "write,,0,flags,0"],
        ["read,source,0,short,4096"],
        ["read,source,0,short,50000"],
        ["read,source,0,short,777", "read,,0,flags,0"],
        ["write,target,0,short,4096"],
        ["write,target,0,short,50001"],
        ["write,target,0,short,12345", "open,,0,direct,0", "write,,0,flags,0"],
        ["write,target,0,flags,0", "open,target,0,direct,0"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("resumable", [MEBIBYTE, 1 << 40])
def test_whatever_way_there_is_the_copies_are_right(
    source: Path, files: dict[str, bytes], faulty: Path, rules: list[str], resumable: int
):
    target = source.parent / "target"
    found = run(source, target, faults(faulty, *rules), resumable=resumable, note_every=MEBIBYTE)
    assert found == {name: [hashlib.sha256(data).hexdigest(), len(data)] for name, data in files.items()}
    for name, data in files.items():
        assert (target / "files" / name).read_bytes() == data


@pytest.mark.parametrize("at", [0, 5 * MEBIBYTE + 4096, BIG - 1])
def test_a_file_with_a_bad_sector_is_named_and_the_rest_is_copied(
    source: Path, files: dict[str, bytes], faulty: Path, at: int
):
    target = source.parent / "target"
    found = run(
        source, target, faults(faulty, f"read,source/model,{at},error,{errno.EIO}"), resumable=MEBIBYTE
    )
    assert found["config"] == [hashlib.sha256(files["config"]).hexdigest(), SMALL]
    assert found["model"].startswith("SourceUnreadable: cannot read the source model: Input/output error")
    assert [path.name for path in (target / "files").iterdir()] == ["config"]
    assert list((target / "partial").iterdir()) == []


def test_a_small_file_with_a_bad_sector_is_named_too(source: Path, files: dict[str, bytes], faulty: Path):
    target = source.parent / "target"
    found = run(source, target, faults(faulty, f"read,source/config,0,error,{errno.EIO}"))
    assert found["config"].startswith("SourceUnreadable")
    assert found["model"] == [hashlib.sha256(files["model"]).hexdigest(), BIG]
    assert [path.name for path in (target / "files").iterdir()] == ["model"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["model", "config"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "its file system is full"),
        (errno.EDQUOT, "its quota is used up"),
        (errno.EIO, "Input/output error"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_a_target_that_fails_ends_the_run(source: Path, faulty: Path, number: int, words: str, name: str):
    target = source.parent / "target"
    found = run(source, target, faults(faulty, f"write,target/files/{name},4096,error,{number}"))
    assert found.startswith("Unavailable: ")
    assert words in found
    assert not (target / "files" / name).exists()


def test_a_full_disk_leaves_a_copy_that_goes_on(source: Path, files: dict[str, bytes], faulty: Path):
    target = source.parent / "target"
    options = {"resumable": MEBIBYTE, "note_every": MEBIBYTE}
    found = run(
        source, target, faults(faulty, f"write,partial,{6 * MEBIBYTE},error,{errno.ENOSPC}"), **options
    )
    assert "its file system is full" in found
    assert len(list((target / "partial").iterdir())) == 2
    (target / "files" / "config").unlink(missing_ok=True)
    found = run(source, target, **options)
    assert found["model"][0] == hashlib.sha256(files["model"]).hexdigest()
    assert found["model"][1] <= BIG - 4 * MEBIBYTE
    assert (target / "files" / "model").read_bytes() == files["model"]
    assert list((target / "partial").iterdir()) == []


def test_a_disk_that_can_not_flush_vouches_for_nothing(source: Path, files: dict[str, bytes], faulty: Path):
    del files
    target = source.parent / "target"
    options = {"resumable": MEBIBYTE, "note_every": MEBIBYTE}
    found = run(source, target, faults(faulty, f"sync,partial,0,error,{errno.EIO}"), **options)
    assert "cannot use the target model: Input/output error" in found
    assert list((target / "partial").iterdir()) == []


@pytest.mark.usefixtures("files")
def test_a_stop_is_obeyed_soon_also_on_a_slow_disk(source: Path, faulty: Path):
    with (source / "model").open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(MEBIBYTE))
    target = source.parent / "target"
    (entry,) = (each for each in files_of(source) if each.path == "model")
    environment = faults(faulty, "write,target,0,delay,250")
    with start(source, target, environment, resumable=MEBIBYTE) as process:
        until((target / "partial").is_dir)
        until(Draft(target / "partial", entry).path.exists)
        process.terminate()
        watch = Stopwatch()
        assert process.stdout is not None
        assert json.loads(process.stdout.read()) == "Cancelled: "
        assert watch.within(2.0)


@dataclass(frozen=True)
class Case:
    """A file of any size and with any holes, and a machine that transfers ``cut`` bytes at a time."""

    size: int
    more: int
    cut: int
    holes: tuple[tuple[int, int], ...]
    refused: frozenset[str]


cases = st.builds(
    Case,
    size=st.sampled_from([0, 1, 4096, MEBIBYTE, 2 * MEBIBYTE, 8 * MEBIBYTE]),
    more=st.integers(0, 5000),
    cut=st.integers(20_000, 3 * MEBIBYTE),
    holes=st.lists(st.tuples(st.integers(0, 8 * MEBIBYTE), st.integers(1, 3 * MEBIBYTE)), max_size=3).map(
        tuple
    ),
    refused=st.frozensets(st.sampled_from(["read,,0,flags,0", "write,,0,flags,0", "open,,0,direct,0"])),
)


@examples(20)
@given(cases)
def test_any_size_and_any_holes_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, faulty: Path, case: Case
):
    folder = tmp_path_factory.mktemp("any")
    (folder / "source").mkdir()
    model = folder / "source" / "model"
    data = bytearray(os.urandom(case.size + case.more))
    with model.open("wb") as file:
        file.write(data)
        file.flush()
        for start, length in case.holes:
            end = min(start + length, len(data))
            if start < end:
                data[start:end] = bytes(end - start)
        file.seek(0)
        file.truncate(0)
        file.truncate(len(data))
        for start in range(0, len(data), 4096):
            if any(data[start : start + 4096]):
                file.seek(start)
                file.write(data[start : start + 4096])
    rules = [f"read,source,0,short,{case.cut}", f"write,target,0,short,{case.cut}", *case.refused]
    found = run(folder / "source", folder / "target", faults(faulty, *rules), resumable=3 * MEBIBYTE)
    assert found["model"][0] == hashlib.sha256(data).hexdigest()
    copied = folder / "target" / "files" / "model"
    assert copied.read_bytes() == data
    assert copied.stat().st_blocks <= model.stat().st_blocks + 256
    copied.unlink()
    model.unlink()
