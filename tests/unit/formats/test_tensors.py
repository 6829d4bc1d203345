"""Sums over tensors, and sizes of files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.formats.damage import Damage
from aiidpd.formats.model_files import TypeShare
from aiidpd.formats.tensors import aligned, merged, shares, size_damage, total_bytes


def test_types_of_several_files_together() -> None:
    parts = [
        (TypeShare("Q4_K", 2, 512, 288), TypeShare("F32", 1, 10, 40)),
        (TypeShare("F32", 1, 100, 400), TypeShare("type 77", 1, 5, None)),
    ]
    types = merged(parts)
    assert types == (
        TypeShare("F32", 2, 110, 440),
        TypeShare("Q4_K", 2, 512, 288),
        TypeShare("type 77", 1, 5, None),
    )
    assert total_bytes(types) is None
    assert total_bytes(types[:2]) == 728
    assert shares({"F16": [1, 2, 4], "x": [1, 9, 0]}, frozenset({"x"}))[1] == TypeShare("x", 1, 9, None)


@given(st.integers(0, 2**70), st.sampled_from([1, 8, 32, 2**31]))
def test_alignment(offset: int, alignment: int) -> None:
    assert aligned(offset, alignment) % alignment == 0
    assert 0 <= aligned(offset, alignment) - offset < alignment


def test_a_file_may_end_with_or_without_padding() -> None:
    assert [size_damage(size, 100, 32) for size in (100, 110, 128)] == [None] * 3
    assert size_damage(10**9, 100, None) is None
    for size, damage in ((99, Damage.TRUNCATED), (129, Damage.TRAILING)):
        found = size_damage(size, 100, 32)
        assert found is not None
        assert found[0] is damage
