"""Durations, sizes, budgets and hours as people write them: ``30s``, ``200MiB``, ``5/1h`` (pure).

A plain number is refused: ``interval = 30`` leaves open whether seconds or milliseconds are meant,
and a wrong guess is found when it is too late. Decimal sizes (MB) are refused for the same reason.
"""

from __future__ import annotations

import re

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

MOST_IN_BUDGET = 1000
LONGEST_WINDOW = 30 * 86_400.0  # seconds

_QUANTITY = re.compile(r"([0-9]{1,12})([A-Za-z]+)", re.ASCII)

_BUDGET = re.compile(r"([0-9]{1,4})/([0-9]{1,12}[a-z]+)", re.ASCII)
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


class Malformed(ValueError):
    """A value that can't be read: ``reason`` is why, ``remedy`` what to write instead.

    ``hide`` is set where the value may hold a secret and must not be repeated.
    """

    def __init__(self, reason: str, remedy: str = "", *, hide: bool = False) -> None:
        self.reason = reason
        self.remedy = remedy
        self.hide = hide
        super().__init__(reason)


def parse_duration(value: object) -> float:
    """Return the seconds that ``value`` (``250ms``, ``30s``, ``15m``, ``12h``, ``7d``, ``2w``) stands for.

    One whole number and one unit, nothing between them. Raises :class:`Malformed`.
    """
    return _parse(value, "duration", MILLISECONDS, "30s") / 1000


def parse_size(value: object) -> int:
    """Return the bytes that ``value`` (``512B``, ``64KiB``, ``200MiB``, ``4GiB``, ``1TiB``) stands for.

    Raises :class:`Malformed`.
    """
    return _parse(value, "size", BYTES, "200MiB")


def parse_budget(value: object) -> tuple[int, float]:
    """Return how often, and in how many seconds, ``value`` (``5/1h``) allows something.

    Raises :class:`Malformed`.
    """
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Malformed("is not a budget", 'write how often in which time, such as "5/1h"')
    often, window = int(match[1]), parse_duration(match[2])
    if not 1 <= often <= MOST_IN_BUDGET or not 1 <= window <= LONGEST_WINDOW:
        raise Malformed("is no sensible budget", f"allow 1 to {MOST_IN_BUDGET} in 1s to 30d")
    return often, window


def parse_hours(value: object) -> tuple[int, int] | None:
    """Return first minute and end of the hours ``value`` (``22:00-06:00``) since midnight.

    None for the empty text: no hours. Raises :class:`Malformed`.
    """
    if value == "":
        return None
    remedy = 'write them as "22:00-06:00", in local time'
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Malformed("are not hours of the day", remedy)
    begin, end = (60 * int(match[at]) + int(match[at + 1]) for at in (1, 3))
    if begin == end:
        raise Malformed("end when they begin", remedy)
    return begin, end


def format_duration(seconds: float) -> str:
    """Return a short text that :func:`parse_duration` reads as ``seconds`` (to the millisecond).

    Weeks become days: 7d is what people write.
    """
    units = {unit: factor for unit, factor in MILLISECONDS.items() if unit != "w"}
    return _format(round(seconds * 1000), units, "s")


def format_size(size: int) -> str:
    """Return a short text that :func:`parse_size` reads as ``size`` bytes."""
    return _format(size, BYTES, "B")


def _parse(value: object, what: str, units: dict[str, int], example: str) -> int:
    known = ", ".join(units)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Malformed(f"a {what} needs its unit", f'write it as "{example}"; the units are {known}')
    if not isinstance(value, str):
        raise Malformed(f"must be a {what}", f'write it as "{example}"')
    match = _QUANTITY.fullmatch(value)
    if match is None:
        raise Malformed(f"is not a {what}", f'write one whole number and its unit, such as "{example}"')
    number, unit = match.groups()
    if unit not in units:
        raise Malformed(f"has an unknown unit, {unit!r}", f"the units are {known}")
    return int(number) * units[unit]


def _format(amount: int, units: dict[str, int], zero: str) -> str:
    if amount == 0:
        return f"0{zero}"
    unit, factor = max(
        ((unit, factor) for unit, factor in units.items() if amount % factor == 0),
        key=lambda pair: pair[1],
    )
    return f"{amount // factor}{unit}"
