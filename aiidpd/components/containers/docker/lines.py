"""Lines of an endless answer, bounded while they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

LONGEST_LINE: Final = 4 << 20
"""Bytes; an event carries all labels of its container. A longer line is left out: the next reading of all
containers has what it was about."""


async def lines(pieces: AsyncIterator[bytes], longest: int = LONGEST_LINE) -> AsyncIterator[bytes]:
    """Yield the lines in ``pieces`` that are not empty; the last also where the end cut it off."""
    buffer = bytearray()
    skipping = False
    async for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for part in ended:
            if not skipping and len(buffer) + len(part) <= longest:
                buffer += part
                if line := bytes(buffer).strip():
                    yield line
            buffer.clear()
            skipping = False
        if skipping or len(buffer) + len(rest) > longest:
            skipping = True
            buffer.clear()
        else:
            buffer += rest
    if line := bytes(buffer).strip():
        yield line
