"""An engine's page for Prometheus: of all its lines those few that are wanted, within bounds.

The page comes from another program and may be anything. Lines are sorted out as bytes while they arrive, so
that the hundreds of buckets that vLLM shows cost nothing; what is left goes to prometheus_client's parser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from aiidpd.engines.all import ENGINES
from aiidpd.engines.figures import Sample, Samples

MOST_BYTES: Final = 8 * 2**20
LONGEST_LINE: Final = 4096
MOST_WANTED: Final = 64 * 1024  # bytes of wanted lines: the parser takes Python's time for each character
_WANTED: Final = tuple({name.encode() for engine in ENGINES for name in engine.names.wanted})


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


def parse(lines: str) -> Samples:
    """Return the samples in ``lines``; raises :class:`MalformedPageError` for what are none."""
    try:
        # None of these lines is a comment, so that each is a family of its own, under its own name.
        families = text_string_to_metric_families(lines)
        return Samples.of(
            Sample(each.name, each.labels, each.value) for family in families for each in family.samples
        )
    except (ValueError, LookupError, ArithmeticError) as error:
        shown = " ".join(str(error)[:100].split())
        raise MalformedPageError(f"it is malformed: {shown or type(error).__name__}") from None
