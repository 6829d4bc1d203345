"""Records of copies that were cut short, and what is done with those."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.control import Cancelled, Control
from aiidpd.components.backup.process.copy import Copied, Copier
from aiidpd.components.backup.process.partial import (
    Draft,
    Record,
    clean_partials,
    dump_record,
    load_record,
)
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.scan import entry_of
from tests.forms import examples

ENTRY = Entry("a/b", Kind.FILE, 9000, 5, ctime_ns=6, inode=(1, 2))
HASH = hashlib.sha256(b"x").hexdigest()
MEBIBYTE = 1024 * 1024

positive = st.integers(1, 2**63)
records = st.builds(
    Record,
    path=st.text(st.characters(codec=None, exclude_characters="\0"), min_size=1),
    size=st.just(2**63),
    mtime_ns=st.integers(),
    ctime_ns=st.integers(),
    inode=st.tuples(positive, positive),
    bytes=positive,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: Record):
    assert load_record(dump_record(record)) == record


@given(records, st.data())
def test_a_damaged_record_is_an_error_or_another_record_and_nothing_else(record: Record, data: st.DataObject):
    text = bytearray(dump_record(record))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(ValueError):
        assert isinstance(load_record(bytes(text[: data.draw(st.integers(0, len(text)))])), Record)


@pytest.mark.parametrize(
    "body",
    [
        [],
        "x",
        None,
        5,
        {},
        {"inode": 3},
        {"bytes": 0},
        {"bytes": "1"},
        {"bytes": True},
        {"bytes": 9001},
        {"sha256": "x"},
        {"sha256": 5},
        {"path": 5},
        {"inode": [1, "2"]},
        {"more": 1},
        {"bytes": -1},
    ],
)
def test_what_is_no_record_is_an_error(body: object):
    right = {
        "path": "a",
        "size": 9000,
        "mtime_ns": 1,
        "ctime_ns": 1,
        "inode": [1, 2],
        "bytes": 1,
        "sha256": HASH,
    }
    if isinstance(body, dict) and body:
        body = {**right, **body}
    with pytest.raises(ValueError):  # noqa: PT011 -- each says something else
        load_record(json.dumps(body).encode())
    with pytest.raises(ValueError):  # noqa: PT011
        load_record(b"[" * 50_000)


def test_a_copy_fits_one_version_of_one_file(tmp_path: Path):
    draft = Draft(tmp_path, ENTRY)
    draft.path.write_bytes(bytes(9000))
    draft.note(4096, HASH)
    assert Draft(tmp_path, ENTRY).done == 4096
    for other in ({"size": 9001}, {"mtime_ns": 7}, {"ctime_ns": 7}, {"inode": (1, 3)}, {"path": "a/c"}):
        assert Draft(tmp_path, replace(ENTRY, **other)).done == 0


def test_cleaning_leaves_what_can_be_resumed_and_returns_its_room(tmp_path: Path):
    for entry in (ENTRY, replace(ENTRY, path="gone"), replace(ENTRY, path="changed")):
        draft = Draft(tmp_path, entry)
        draft.path.write_bytes(bytes(9000))
        draft.note(4096, HASH)
    (tmp_path / "foreign.new").touch()
    (tmp_path / ("0" * 32)).touch()
    (tmp_path / "folder").mkdir()
    kept = Draft(tmp_path, ENTRY).path
    room = clean_partials(tmp_path, [ENTRY, replace(ENTRY, path="changed", mtime_ns=9)])
    assert {path.name for path in tmp_path.iterdir()} == {kept.name, kept.name + ".json", "folder"}
    assert 9000 <= room <= 65536
    assert clean_partials(tmp_path / "absent", []) == 0


@pytest.mark.parametrize(
    "damage",
    ["nothing", "a bit of the copy", "the hash", "the copy ends early", "no record", "no copy", "record"],
)
def test_what_does_not_fit_is_begun_anew(source: Path, damage: str):
    data = os.urandom(9 * MEBIBYTE + 7)
    (source / "model").write_bytes(data)
    entry = entry_of(source, "model")
    folder = source.parent / "partial"
    folder.mkdir()
    draft = Draft(folder, entry)
    known = 5 * MEBIBYTE + 4096
    draft.path.write_bytes(data[:known] + b"whatever was written after the record")
    draft.note(known, hashlib.sha256(data[:known]).hexdigest())
    record = draft.path.with_suffix(".json")
    if damage == "a bit of the copy":
        with draft.path.open("r+b") as file:
            file.seek(3 * MEBIBYTE)
            file.write(bytes([data[3 * MEBIBYTE] ^ 1]))
    elif damage == "the hash":
        draft.note(known, HASH)
    elif damage == "the copy ends early":
        os.truncate(draft.path, known - 1)
    elif damage == "no record":
        record.unlink()
    elif damage == "no copy":
        draft.path.unlink()
    elif damage == "record":
        record.write_bytes(record.read_bytes()[:-9])
    with Copier(Control(), resumable=MEBIBYTE) as copier:
        ((_, outcome),) = copier.copy_many(source, [(entry, source.parent / "copy")], folder)
    expected = len(data) - known if damage == "nothing" else len(data)
    assert outcome == Copied(hashlib.sha256(data).hexdigest(), {}, expected)
    assert (source.parent / "copy").read_bytes() == data
    assert list(folder.iterdir()) == []


class Cancelling(Control):
    """Ends the work after so many blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self._blocks = blocks

    def step(self, count: int = 0) -> None:
        if count:
            self._blocks -= 1
            self.cancelled = self._blocks <= 0
        super().step(count)


@examples(30)
@given(
    parts=st.lists(st.tuples(st.integers(1, 3 * MEBIBYTE), st.booleans()), min_size=2, max_size=8),
    cuts=st.lists(st.integers(1, 8), max_size=4),
    note_every=st.sampled_from([4096, MEBIBYTE, 3 * MEBIBYTE, 1 << 40]),
)
def test_wherever_it_is_cut_short_the_copy_is_right_and_has_the_holes(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[tuple[int, bool]],
    cuts: list[int],
    note_every: int,
):
    folder = tmp_path_factory.mktemp("cut")
    with (folder / "model").open("wb") as file:
        for length, hole in parts:
            if hole:
                file.seek(length, os.SEEK_CUR)
            else:
                file.write(os.urandom(length))
        file.truncate()
    entry = entry_of(folder, "model")
    data = (folder / "model").read_bytes()
    (folder / "partial").mkdir()
    for blocks in [*cuts, 1 << 40]:
        jobs = [(entry, folder / "copy")]
        with Copier(Cancelling(blocks), resumable=1, note_every=note_every) as copier, suppress(Cancelled):
            for _, outcome in copier.copy_many(folder, jobs, folder / "partial"):
                assert isinstance(outcome, Copied)
                assert outcome.sha256 == hashlib.sha256(data).hexdigest()
        if (folder / "copy").exists():
            break
        clean_partials(folder / "partial", [entry])
    assert (folder / "copy").read_bytes() == data
    assert (folder / "copy").stat().st_blocks <= (folder / "model").stat().st_blocks + 256
    assert list((folder / "partial").iterdir()) == []
    (folder / "copy").unlink()
    (folder / "model").unlink()
