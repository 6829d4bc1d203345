"""Sums over the tensors of model files, and the size that a file with them has (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from aiidpd.formats.damage import Damage
from aiidpd.formats.model_files import TypeShare


def size_damage(size: int, expected: int, alignment: int | None) -> tuple[Damage, str] | None:
    """Return the damage of a file of ``size`` bytes that ends at ``expected``, with or without padding.

    Without an alignment its end is not known, and what follows is none.
    """
    if size < expected:
        return Damage.TRUNCATED, f"it has {size} of {expected} bytes"
    if alignment is not None and size > aligned(expected, alignment):
        return Damage.TRAILING, f"it has {size} bytes where {expected} belong to it"
    return None


def total_bytes(types: tuple[TypeShare, ...]) -> int | None:
    """Return the bytes of all ``types``; None where those of one are not known."""
    sizes = [share.bytes for share in types]
    return None if None in sizes else sum(size or 0 for size in sizes)


def shares(tally: Mapping[str, list[int]], unknown: frozenset[str]) -> tuple[TypeShare, ...]:
    """Return types from ``[tensors, elements, bytes]`` of each, the largest first."""
    found = (
        TypeShare(name, count, elements, None if name in unknown else size)
        for name, (count, elements, size) in tally.items()
    )
    return _sorted(found)


def aligned(offset: int, alignment: int) -> int:
    """Return the first multiple of ``alignment`` at or after ``offset``."""
    return offset + -offset % alignment


def merged(types: Iterable[tuple[TypeShare, ...]]) -> tuple[TypeShare, ...]:
    """Return the types of several files together, the largest first."""
    counts, elements, sizes, unknown = Counter[str](), Counter[str](), Counter[str](), set[str]()
    for share in (share for of_file in types for share in of_file):
        counts[share.name] += share.tensors
        elements[share.name] += share.elements
        sizes[share.name] += share.bytes or 0
        if share.bytes is None:
            unknown.add(share.name)
    found = (
        TypeShare(name, counts[name], elements[name], None if name in unknown else sizes[name])
        for name in counts
    )
    return _sorted(found)


def _sorted(found: Iterable[TypeShare]) -> tuple[TypeShare, ...]:
    return tuple(sorted(found, key=lambda share: (-(share.bytes or 0), -share.elements, share.name)))
