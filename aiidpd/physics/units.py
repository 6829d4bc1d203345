"""Sizes and rates as people write them: ``4.58GiB``, ``448GB/s``, ``40Gbit/s`` (pure).

GiB are 2**30 bytes and GB are 10**9: each is read as what it is, and a unit that leaves it open is refused.
"""

from __future__ import annotations

import math
import re
from typing import Final

GIB: Final = 2**30
GB: Final = 10**9

_DECIMAL: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_NUMBER: Final = r"(\d{1,15}(?:\.\d{1,12})?)\s*"
_SIZE: Final = re.compile(_NUMBER + r"([kKMGTP]?)(i?)B", re.ASCII)
_RATE: Final = re.compile(_NUMBER + r"([kKMGTP]?)(i?)(B|bit|b)(?:/s|ps)", re.ASCII)
_BITS: Final = 8


class NotAQuantity(ValueError):
    """A text that is no size or rate with its unit."""


def parse_bytes(text: str) -> float:
    """Return the bytes of ``4.58GiB``, ``8GB`` or ``512MiB``; raises :class:`NotAQuantity`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise NotAQuantity(
            f"{text!r} is no size with its unit: write 4.58GiB (2**30 bytes) or 4.92GB (10**9)"
        )
    return _positive(text, float(match[1]) * _factor(text, match[2], match[3]))


def parse_rate(text: str) -> float:
    """Return the bytes a second of ``448GB/s`` or ``40Gbit/s``; raises :class:`NotAQuantity`."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise NotAQuantity(f"{text!r} is no rate with its unit: write 448GB/s or 40Gbit/s")
    bits = _BITS if match[4] != "B" else 1
    return _positive(text, float(match[1]) * _factor(text, match[2], match[3]) / bits)


def gib(amount: float) -> str:
    """Return ``amount`` of bytes in GiB."""
    return f"{amount / GIB:.2f} GiB"


def gb_per_second(rate: float) -> str:
    """Return ``rate`` in GB/s, with a digit after the point where it is no whole number."""
    return f"{rate / GB:.1f} GB/s".replace(".0 ", " ")


def _factor(text: str, prefix: str, binary: str) -> int:
    prefix = prefix.upper()
    if binary and not prefix:
        raise NotAQuantity(f"{text!r} has no prefix before its i: write 4.58GiB")
    return _BINARY[prefix] if binary else _DECIMAL[prefix]


def _positive(text: str, value: float) -> float:
    if not value > 0 or not math.isfinite(value):
        raise NotAQuantity(f"{text!r} is not more than 0")
    return value
