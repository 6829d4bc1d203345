"""Words and tables for people: sizes, times and aligned columns."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any

    Document = Mapping[str, Any]
else:
    Document = Mapping

SIMULATED = "SIMULATED"
UNKNOWN = "-"

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _PLAIN = "1", "2", "31", "32", "33", "0"
_COLOUR = re.compile("(\x1b\\[[0-9]+m)")
_STEPS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
_KIBI = 1024
_GAP = "  "  # between two columns
_NARROWEST = 4  # columns of a cell that is cut
_MARK = len(SIMULATED) + 1  # columns that notes without a heading have left for what they begin with
_SOME_WORDS = 12  # columns of a cell that still means something
_LONGEST = 2000  # characters of a name or reason: as many as the history stores


class Paint:
    """Colours, where they are wanted, and the columns that a table may take (0: any number).

    No dataclass: loading ``dataclasses`` takes longer than all this.
    """

    __slots__ = ("colour", "width")

    def __init__(self, colour: bool = False, width: int = 0) -> None:
        self.colour = colour
        self.width = width

    def bold(self, text: str) -> str:
        return self._wrap(text, _BOLD)

    def dim(self, text: str) -> str:
        return self._wrap(text, _DIM)

    def bad(self, text: str) -> str:
        return self._wrap(text, _RED)

    def good(self, text: str) -> str:
        return self._wrap(text, _GREEN)

    def warn(self, text: str) -> str:
        return self._wrap(text, _YELLOW)

    def _wrap(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[{_PLAIN}m" if self.colour and text else text


def plain(text: object) -> str:
    """Return ``text`` as one line that can't steer a terminal: names and reasons come from elsewhere.

    White space is a blank, what can't be printed an escape sequence as in Python, and what is longer than
    anybody reads is cut.
    """
    given = str(text)
    whole = "".join(
        character if character.isprintable() else " " if character.isspace() else _escape(character)
        for character in given[: _LONGEST + 1]
    )
    return cut(whole, _LONGEST)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def span(seconds: float | None) -> str:
    """Return a duration with three figures, in the unit that suits it: ``1.24 s``, ``35 min``."""
    if not seconds:
        return UNKNOWN if seconds is None else "0 s"
    length, unit = next((step for step in _STEPS if abs(seconds) >= step[0]), _STEPS[-1])
    value = seconds / length
    text = f"{value:.{max(0, 3 - len(str(int(abs(value)))))}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"


def since(at: float | None, now: float) -> str:
    """Return how long before ``now`` the moment ``at`` was, or how long it is until then."""
    if at is None:
        return UNKNOWN
    if abs(now - at) < 1:
        return "now"
    return f"{_whole(now - at)} ago" if at < now else f"in {_whole(at - now)}"


def moment(at: float) -> str:
    """Return ``at`` (Unix seconds) in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def size(amount: float | None) -> str:
    """Return a number of bytes: ``512 B``, ``1.2 MiB``."""
    if amount is None:
        return UNKNOWN
    power = 0
    while amount >= _KIBI and power < len(_SIZES) - 1:
        amount /= _KIBI
        power += 1
    return f"{amount:.{1 if power else 0}f} {_SIZES[power]}"


def counted(count: int, thing: str) -> str:
    """Return how many of a ``thing`` there are: ``1 snapshot``, ``3 snapshots``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    """Return ``value`` with ``digits`` after the point and its unit, or that it is not known."""
    if value is None:
        return UNKNOWN
    return f"{value:.{digits}f} {unit}".rstrip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]], paint: Paint, *, right: str = "") -> list[str]:
    """Return lines of aligned columns, two blanks between them, no wider than ``paint`` allows.

    Where they would be, the longest cells of words are cut, as long as some words of them are left; then
    headings that are longer than what is below, then cells as need be, those of words before those of
    figures. The first column, which names what the row is about, is cut after the other words.
    ``right`` has an ``r`` at the place of each column that is aligned on the right.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    bodies = [max((len(row[place]) for row in cells), default=0) for place in range(len(head))]
    widths = [max(len(name), body) for name, body in zip(head, bodies, strict=True)]
    if paint.width:
        room = paint.width - len(_GAP) * (len(head) - 1)
        words = {place for place in range(len(head)) if right[place : place + 1] != "r"}
        least = [min(wide, _NARROWEST if name else _MARK) for name, wide in zip(head, widths, strict=True)]
        some = [min(wide, _SOME_WORDS) for wide in widths]
        widths = _narrowed(widths, some, room, [words - {0}])
        under = [max(pair) for pair in zip(least, map(min, bodies, widths), strict=True)]
        widths = _narrowed(widths, under, room, [range(len(head))])
        widths = _narrowed(widths, least, room, [words - {0}, words, range(len(head))])

    def line(row: Sequence[str]) -> str:
        columns = [
            cut(cell, wide).rjust(wide) if right[place : place + 1] == "r" else cut(cell, wide).ljust(wide)
            for place, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        return cut(_GAP.join(columns).rstrip(), paint.width)

    return [paint.dim(line(head)), *(line(row) for row in cells)]


def _narrowed(
    widths: Sequence[int], least: Sequence[int], room: int, order: Iterable[Collection[int]]
) -> list[int]:
    """Return ``widths`` such that they take ``room`` together, if columns as wide as ``least`` can.

    Those of the first of ``order`` are narrowed first.
    """
    narrow = list(widths)
    for places in order:
        while sum(narrow) > room:
            wide = [place for place in places if narrow[place] > least[place]]
            if not wide:
                break
            narrow[max(wide, key=lambda place: narrow[place])] -= 1
    return narrow


def cut(line: str, width: int) -> str:
    """Return ``line`` in at most ``width`` columns (0: any number), colours not counted, marked where cut."""
    pieces = _COLOUR.split(line)  # text and colours by turns
    if not width or sum(map(len, pieces[::2])) <= width:
        return line
    room = width - 1
    parts = []
    for place, piece in enumerate(pieces):
        if place % 2:
            parts.append(piece)
        else:
            parts.append(piece[:room])
            room -= len(parts[-1])
    return "".join(parts) + "\N{HORIZONTAL ELLIPSIS}"


def _whole(seconds: float) -> str:
    """Return a span for which fractions don't matter; at least a second."""
    length, unit = next(step for step in _STEPS if seconds >= step[0])
    return f"{seconds / length:.0f} {unit}"
