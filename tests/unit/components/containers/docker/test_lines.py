from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.docker.lines import lines


async def cut(data: bytes, at: list[int]) -> AsyncIterator[bytes]:
    bounds = [0, *sorted(min(each, len(data)) for each in at), len(data)]
    for begin, end in pairwise(bounds):
        yield data[begin:end]


@given(
    st.lists(st.binary(max_size=12).map(lambda each: each.replace(b"\n", b".")), max_size=8),
    st.lists(st.integers(0, 80), max_size=8),
)
async def test_lines_are_the_same_however_they_arrive_and_long_ones_are_left_out(
    given_: list[bytes], at: list[int]
) -> None:
    found = [line async for line in lines(cut(b"\n".join(given_), at), longest=8)]
    stripped = [each.strip() for each in given_ if len(each) <= 8]
    assert found == [each for each in stripped if each]
