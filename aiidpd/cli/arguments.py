"""Arguments of commands that are no plain words."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[KMGT]i?B?)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def size_argument(text: str) -> int:
    """Return a number of bytes for ``5GiB``, ``200MB`` or ``4096``; units without an i are decimal."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size, as 5GiB or 200MB is one")
    unit = (match[2] or "").upper()
    base = 1000 if "I" not in unit and unit.endswith("B") and len(unit) > 1 else 1024
    return int(float(match[1]) * base ** _POWERS[unit.rstrip("B").rstrip("I")])


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return ``parse`` as the type of an argument: the message of a ``ValueError`` is shown as it is."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed
