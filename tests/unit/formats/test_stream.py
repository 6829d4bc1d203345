"""The bounded cursor, JSON a piece at a time, and folders within bounds."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.json_stream import JsonStream
from aiidpd.formats.stream import Cursor, opened, read_head, read_small, size_of
from aiidpd.formats.walk import Budget, entries, files_below
from tests.forms import examples


class Slow(io.RawIOBase):
    """A stream that gives ``step`` bytes at a time, and can't seek."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[: self._step])


STEPS = st.lists(st.tuples(st.sampled_from(["take", "skip", "more"]), st.integers(0, 40)), max_size=30)


@examples(300)
@given(data=st.binary(max_size=200), steps=STEPS, step=st.integers(1, 64), seeks=st.booleans())
def test_a_cursor_is_at_the_byte_that_it_says(data: bytes, steps: Any, step: int, seeks: bool) -> None:
    cursor = Cursor(io.BytesIO(data) if seeks else Slow(data, step), 10_000)  # type: ignore[arg-type]
    at = 0
    for action, count in steps:
        if action == "more":
            cursor.more()
            continue
        try:
            found = cursor.take(count) if action == "take" else cursor.skip(count)
        except Malformed as error:
            assert error.damage is Damage.TRUNCATED  # noqa: PT017 -- either end is right
            assert at + count > len(data)
            return
        if action == "take":
            assert found == data[at : at + count]
        at += count
        assert cursor.offset == at
        assert at <= len(data)


def test_a_cursor_stops_at_its_limit() -> None:
    for source in (io.BytesIO(bytes(100)), Slow(bytes(100), 7)):
        cursor = Cursor(source, 50)  # type: ignore[arg-type]
        assert cursor.take(50) == bytes(50)
        for act in (cursor.take, cursor.skip):
            with pytest.raises(Malformed) as refused:
                act(1)
            assert refused.value.damage is Damage.TOO_LARGE
        assert not cursor.more()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@examples(300)
@example(value={"}\x1f": None}, indent=None, plain=True, step=50)
@given(value=JSON, indent=st.sampled_from([None, 3]), plain=st.booleans(), step=st.integers(1, 50))
def test_json_in_pieces_is_json(value: Any, indent: int | None, plain: bool, step: int) -> None:
    written = json.dumps(value, indent=indent, ensure_ascii=not plain).encode("utf-8", "surrogatepass")
    try:
        written.decode()
    except UnicodeDecodeError:
        return
    stream = JsonStream(Cursor(Slow(b" \n" + written + b"\t", step), 10**6), None)  # type: ignore[arg-type]
    assert stream.value(10**6) == value
    assert stream.next() == b""
    whole = JsonStream(Cursor(io.BytesIO(written), 10**6), len(written))
    assert whole.value(10**6) == value


@given(text=st.text(), limit=st.integers(2, 30), step=st.integers(1, 9))
def test_texts_and_their_limits(text: str, limit: int, step: int) -> None:
    written = json.dumps(text).encode()

    def stream() -> JsonStream:
        return JsonStream(Cursor(Slow(written + b",", step), 10**6), None)  # type: ignore[arg-type]

    passed = stream()
    passed.skip()
    assert passed.take(b",")
    short = stream()
    assert short.short_text(limit) == (text if len(written) <= limit else None)
    assert short.take(b",")
    if len(written) <= limit:
        assert stream().text(limit) == text
    else:
        with pytest.raises(Malformed):
            stream().text(limit)


def test_small_files_are_read_and_others_refused(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"12345")
    assert read_small(tmp_path / "small", 5) == b"12345"
    assert read_head(tmp_path / "small", 2) == (b"12", 5)
    with pytest.raises(Malformed) as refused:
        read_small(tmp_path / "small", 4)
    assert refused.value.damage is Damage.TOO_LARGE
    with opened(tmp_path / "small") as stream:
        assert size_of(stream) == 5
    assert stream.closed
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "none", 1)


def test_folders_are_listed_in_order_and_links_not_followed(tmp_path: Path) -> None:
    for name in ("b/c/x", "a/x", "z", "b/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    budget = Budget()
    assert list(files_below(tmp_path, budget)) == ["loop", "z", "a/x", "b/a", "b/c/x"]
    assert list(files_below(tmp_path, budget, into=lambda folder: folder.name != "b")) == ["loop", "z", "a/x"]
    assert entries(tmp_path / "b", budget) == ["a", "c"]
    assert entries(tmp_path / "none", budget) == []
    assert budget.complete


def test_a_folder_without_end_meets_a_bound(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(40):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"")
    budget = Budget()
    assert list(files_below(tmp_path, budget)) == []
    assert not budget.complete
    few = Budget(entries=1)
    (tmp_path / "e").write_bytes(b"")
    assert len(entries(tmp_path, few)) == 1
    assert not few.complete


def test_folders_that_cannot_be_read_are_named_up_to_a_number() -> None:
    budget = Budget()
    for number in range(200):
        budget.failed(f"/x/{number}", PermissionError(13, os.strerror(13)))
    assert budget.unreadable[0] == "/x/0: permission denied"
    assert len(budget.unreadable) == 100
    assert not budget.complete
