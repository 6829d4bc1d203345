"""Small files with a checksum of themselves: pins and the marker."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process import marker, pins
from aiidpd.components.backup.process.sealed import seal, unseal

PINNED = {"20270115T080000Z": "the last with the first model", "20270116T080000Z": "é"}


@given(
    st.dictionaries(st.text().filter(lambda key: key != "sha256"), st.text() | st.integers() | st.booleans())
)
def test_what_was_sealed_comes_back(document: dict[str, object]):
    assert unseal(seal(document)) == document


@given(st.integers(0, len(seal(PINNED)) * 8 - 1))
def test_each_flipped_bit_is_found(bit: int):
    data = bytearray(seal(PINNED))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError):  # noqa: PT011 -- the words are those of JSON's parser, or of UTF-8's
        unseal(bytes(data))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 100_000, b'{"a": NaN}', b"\xff", b'{"a": "b"}'])
def test_anything_else_is_refused(data: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 -- as above
        unseal(data)


def test_pins_and_the_marker_come_back_and_show_what_was_changed(tmp_path: Path):
    pins.write(tmp_path, PINNED)
    assert pins.read(tmp_path) == PINNED
    made = marker.create(tmp_path, 5.0)
    assert marker.read_marker(tmp_path) == made
    for name in (pins.PINS, marker.MARKER):
        data = bytearray((tmp_path / name).read_bytes())
        data[9] ^= 1
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"pins\.json"):
        pins.read(tmp_path)
    with pytest.raises(ValueError, match=r"aiidpd-backup\.json"):
        marker.load_marker((tmp_path / marker.MARKER).read_bytes())
