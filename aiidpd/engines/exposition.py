"""An engine's page for Prometheus: of all its lines those few that are wanted, within bounds.

The page comes from another program and may be anything. Lines are sorted out as bytes while they arrive, so
that the hundreds of buckets that vLLM shows cost nothing; what is left goes to prometheus_client's parser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from aiidpd.engines.figures import ENGINES, EngineFigures, Names, NotKnown, uncounted

MOST_BYTES: Final = 8 * 2**20
LONGEST_LINE: Final = 4096
MOST_WANTED: Final = 64 * 1024  # bytes of wanted lines: the parser takes Python's time for each character
_MOST_COUNT: Final = 2**53
_WANTED: Final = tuple(name.encode() for names in ENGINES for name in names.wanted)


class MalformedPageError(ValueError):
    """An answer that is no page, or none that can be read within its bounds."""


class PageLines:
    """Wanted lines of a page that arrives in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._wanted: list[bytes] = []
        self._received = 0
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece; raises :class:`MalformedPageError` beyond the bounds."""
        self._received += len(data)
        if self._received > MOST_BYTES:
            raise MalformedPageError(f"it is longer than {MOST_BYTES // 2**20} MiB")
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._collect(lines)
        if len(self._rest) > LONGEST_LINE:
            raise MalformedPageError(f"it has a line of more than {LONGEST_LINE} bytes")

    def end(self) -> str:
        """Return the wanted lines, a last one without its end included."""
        self._collect([self._rest])
        self._rest = b""
        return b"\n".join(self._wanted).decode(errors="replace")

    def _collect(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if line.startswith(_WANTED):
                self._size += len(line)
                if len(line) > LONGEST_LINE or self._size > MOST_WANTED:
                    raise MalformedPageError("its lines about requests and tokens are too long or too many")
                self._wanted.append(line)


def figures(lines: str) -> EngineFigures | NotKnown:
    """Return the figures of ``lines``; those of one engine alone are believed."""
    try:
        # None of these lines is a comment, so that each is a family of its own, under its own name.
        samples = [sample for family in text_string_to_metric_families(lines) for sample in family.samples]
    except (ValueError, LookupError, ArithmeticError) as error:
        shown = " ".join(str(error)[:100].split())
        return NotKnown(f"its page is malformed: {shown or type(error).__name__}", lasting=True)
    sums: dict[str, float] = {}
    for sample in samples:
        sums[sample.name] = sums.get(sample.name, 0.0) + (
            sample.value if _is_count(sample.value) else math.nan
        )
    for names in ENGINES:
        if any(name in sums for name in names.wanted):
            return _of(names, sums)
    return NotKnown("its page has no figures of vLLM or llama.cpp", lasting=True)


def _of(names: Names, sums: Mapping[str, float]) -> EngineFigures:
    running, longest = _count(sums.get(names.running)), _count(sums.get(names.longest))
    return EngineFigures(
        names.engine,
        running,
        _count(sums.get(names.waiting)),
        _count(sums.get(names.generated)),
        _count(sums.get(names.prompt)),
        uncounted(names, running, longest),
    )


def _is_count(value: float) -> bool:
    return 0 <= value < _MOST_COUNT and value == int(value)


def _count(value: float | None) -> int | None:
    return None if value is None or not _is_count(value) else int(value)
