"""Libraries that a shared object needs, read from its file (pure)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

_MAGIC_64: Final = b"\x7fELF\x02"
_DYNAMIC: Final = 2  # type of a segment
_LOAD: Final = 1
_NEEDED: Final = 1  # tag of an entry
_STRINGS: Final = 5
_GLIBC: Final = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0")


def needed(data: bytes) -> frozenset[str]:
    """Return the names of the libraries that the shared object ``data`` needs: those of 64 bits alone.

    Raises ValueError for what is none, or is damaged.
    """
    if data[:5] != _MAGIC_64:
        raise ValueError("it is no ELF file of 64 bits")
    try:
        return frozenset(_needed(data))
    except (struct.error, IndexError, OverflowError) as error:  # what it refers to lies outside of it
        raise ValueError(f"the ELF file is damaged: {error}") from error


def glibc(data: bytes) -> tuple[int, int]:
    """Return the newest version of the GNU C library that ``data`` names, (0, 0) where it names none."""
    return max(((int(major), int(minor)) for major, minor in _GLIBC.findall(data)), default=(0, 0))


def _needed(data: bytes) -> Iterator[str]:
    order = "<" if data[5] == 1 else ">"
    segments = tuple(_segments(data, order))
    start, size = next(((offset, size) for kind, offset, _, size in segments if kind == _DYNAMIC), (0, 0))
    entries = [struct.unpack_from(f"{order}qQ", data, at) for at in range(start, start + size, 16)]
    address = next((value for tag, value in entries if tag == _STRINGS), 0)
    strings = next(
        (offset + address - base for kind, offset, base, length in segments
         if kind == _LOAD and base <= address < base + length),
        0,
    )  # fmt: skip
    return (_text(data, strings + value) for tag, value in entries if tag == _NEEDED)


def _segments(data: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, offset, address and size of each segment."""
    (start,) = struct.unpack_from(f"{order}Q", data, 32)
    each, count = struct.unpack_from(f"{order}HH", data, 54)
    for at in range(start, start + each * count, each):
        kind, _, offset, address, _, size = struct.unpack_from(f"{order}IIQQQQ", data, at)
        yield kind, offset, address, size


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii")
