"""Quantities of criteria, each with its unit: ``100 ms``, ``60 tok/s``, ``95 %`` (pure)."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Final

_QUANTITY: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?([A-Za-z%/]*)", re.ASCII)
_LARGEST: Final = 1e12


class Dimension(StrEnum):
    """Kind of a figure, which decides on its units."""

    SECONDS = "seconds"
    TOKENS_PER_SECOND = "tokens a second"
    SHARE = "share"
    COUNT = "count"
    TOKENS = "tokens"


_UNITS: Final = {
    Dimension.SECONDS: {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    Dimension.TOKENS_PER_SECOND: {"tok/s": 1.0},
    Dimension.SHARE: {"%": 0.01},
    Dimension.COUNT: {"": 1.0},
    Dimension.TOKENS: {"tokens": 1.0, "tok": 1.0},
}
_WRITTEN: Final = {
    Dimension.SECONDS: '"100 ms", "2 s" or "10 min"',
    Dimension.TOKENS_PER_SECOND: '"60 tok/s"',
    Dimension.SHARE: '"95 %"',
    Dimension.COUNT: "0 or 3",
    Dimension.TOKENS: '"128 tokens"',
}


class NotAQuantityError(ValueError):
    """A value that is no quantity of its dimension; the text says how one is written."""


def parse(value: object, dimension: Dimension) -> float:
    """Return ``value`` in seconds, tokens a second, as a share, or a number.

    Raises :class:`NotAQuantityError` for one without its unit or with that of another dimension.
    """
    text = value if isinstance(value, str) else str(value) if _is_whole(value) else ""
    match = _QUANTITY.fullmatch(text.strip())
    factor = _UNITS[dimension].get(match[2]) if match else None
    if match is None or factor is None:
        shown = repr(value)[:40]
        raise NotAQuantityError(f"{shown} is no {dimension.value} with its unit: write {_WRITTEN[dimension]}")
    found = float(match[1]) * factor
    if found > _LARGEST or (dimension in (Dimension.COUNT, Dimension.TOKENS) and found != math.floor(found)):
        raise NotAQuantityError(f"{text[:40]!r} is out of bounds: write {_WRITTEN[dimension]}")
    return found


def shown(value: float, dimension: Dimension) -> str:
    """Return ``value`` as people read it."""
    if dimension is Dimension.SECONDS:
        if value >= 60:  # noqa: PLR2004 -- seconds of a minute
            return f"{value / 60:.3g} min"
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if dimension is Dimension.TOKENS_PER_SECOND:
        return f"{value:.4g} tok/s"
    if dimension is Dimension.SHARE:
        return f"{100 * value:.4g} %"
    return f"{value:.0f} tokens" if dimension is Dimension.TOKENS else f"{value:.0f}"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
