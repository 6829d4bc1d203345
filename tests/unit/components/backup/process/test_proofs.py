"""Proofs and pins: small files beside the snapshots."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process import pins
from aiidpd.components.backup.process.proofs import (
    PROOFS,
    Proofs,
    dump_proofs,
    load_proofs,
    read_proofs,
    unit_key,
    write_proofs,
)

texts = st.text(max_size=9)
stamps = st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=4)
reasons = st.dictionaries(texts, texts, max_size=3)
found = st.builds(Proofs, proven=stamps, damaged=reasons, rotten=reasons, confirmed=stamps, checked=stamps)


@given(found)
def test_proofs_survive_a_round_trip(proofs: Proofs) -> None:
    assert load_proofs(dump_proofs(proofs)) == proofs


@given(found, st.data())
def test_any_flipped_bit_in_them_is_noticed(proofs: Proofs, data: st.DataObject) -> None:
    content = bytearray(dump_proofs(proofs))
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    content[position // 8] ^= 1 << position % 8
    with pytest.raises(ValueError, match=r"checksum|incomplete|version|Expecting"):
        load_proofs(bytes(content))


@given(st.binary(max_size=50))
def test_any_bytes_are_no_proofs(data: bytes) -> None:
    with pytest.raises(ValueError, match="checksum"):
        load_proofs(data)


def test_lost_or_damaged_proofs_prove_nothing(tmp_path: Path) -> None:
    assert read_proofs(tmp_path) == (Proofs(), "")
    write_proofs(tmp_path, Proofs({"a": 1.0}))
    assert read_proofs(tmp_path) == (Proofs({"a": 1.0}), "")
    (tmp_path / PROOFS).write_bytes(b"x")
    empty, problem = read_proofs(tmp_path)
    assert empty == Proofs()
    assert "checksum" in problem


def test_proofs_of_the_version_before_are_read() -> None:
    body = {"version": 1, "proven": {"a": 1.0}, "damaged": {}, "rotten": {}, "confirmed": {}}
    text = json.dumps(body).encode()
    digest = hashlib.sha256(text).hexdigest().encode()
    assert load_proofs(digest + b"\n" + text + b"\n") == Proofs({"a": 1.0})


def test_contents_are_told_apart_by_hash_and_by_place() -> None:
    assert unit_key("a") != unit_key("a", "s/files/x") != unit_key("a", "s/files/y")


def test_a_pin_retains_its_first_reason(tmp_path: Path) -> None:
    assert pins.read(tmp_path) == {}
    pins.add(tmp_path, "s", "first")
    pins.add(tmp_path, "s", "second")
    pins.add(tmp_path, "t", "third")
    assert pins.read(tmp_path) == {"s": "first", "t": "third"}


@pytest.mark.parametrize("content", [b"[]", b'{"a": 1}', b"{", b"[" * 100_000])
def test_pins_that_are_none_are_an_error_and_not_lost(tmp_path: Path, content: bytes) -> None:
    (tmp_path / pins.PINS).write_bytes(content)
    with pytest.raises(ValueError, match=r"pins|Expecting"):
        pins.add(tmp_path, "s", "reason")
    assert (tmp_path / pins.PINS).read_bytes() == content


def test_pins_are_for_people_too(tmp_path: Path) -> None:
    pins.add(tmp_path, "s", "reason")
    assert json.loads((tmp_path / pins.PINS).read_text())["s"] == "reason"
