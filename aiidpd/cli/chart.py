"""Curves in a terminal (pure): dots of braille, a scale at the left, time below, lines where limits are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column of a cell
_ROWS, _COLUMNS = 4, 2
_BLANK = 0x2800
_SCALE = 8  # columns for the figures at the left, the axis included
_STEPS = (1, 2, 5, 10)
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_APART = 10  # columns between two labels of time, at least
LONGEST_GAP: Final = 10.0
"""Seconds between two points that a frame joins, unless it sets another: over more nothing is known."""


@dataclass(frozen=True, slots=True)
class Line:
    """A level across the chart, such as a limit, and what it is called."""

    value: float
    name: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Window of time (seconds) and the size in characters; ``marks`` are moments to point out."""

    start: float
    end: float
    width: int = 80
    height: int = 8
    marks: tuple[float, ...] = ()
    braille: bool = True
    longest_gap: float = LONGEST_GAP

    @property
    def columns(self) -> int:
        """Characters that are left for the curve."""
        return max(10, self.width - _SCALE)

    def column(self, at: float) -> int | None:
        """Return the character column of a moment, None where it lies outside."""
        if not self.start <= at <= self.end:
            return None
        return min(self.columns - 1, int((at - self.start) / (self.end - self.start) * self.columns))


Points = Sequence[tuple[float, float | None]]


def chart(points: Points, frame: Frame, *, title: str, lines: Iterable[Line] = ()) -> list[str]:
    """Return the title, the curve of ``points`` (seconds, value) in its frame, and the time axis.

    ``lines`` that lie far off the curve are named in the title instead of squeezing it flat. Where a value
    is None or missing for long, there is a gap. Nothing is returned where no value is known.
    """
    known = [(at, value) for at, value in points if value is not None and frame.start <= at <= frame.end]
    if not known:
        return []
    low, high = _range([value for _, value in known])
    near: list[Line] = []
    far: list[Line] = []
    for line in lines:
        inside = low - (high - low) <= line.value <= high + (high - low)
        (near if inside else far).append(line)
    for line in near:
        low, high = min(low, line.value), max(high, line.value)
    bottom, top, step = _scale(low, high, frame.height)
    cells = _curve(points, frame, bottom, top)
    names = {_height(line.value, bottom, top, frame): line for line in near}
    labels = {}
    for number in range(round((top - bottom) / step) + 1):
        value = bottom + number * step
        label = f"{value:.{_digits(step)}f}"
        labels[_height(value, bottom, top, frame)] = label if len(label) <= _SCALE - 2 else f"{value:.0e}"
    rows = [
        f"{labels.get(row, ''):>{_SCALE - 2}} ┤{_row(cells[row], names.get(row), frame)}".rstrip()
        for row in range(frame.height)
    ]
    extra = "".join(f"  {line.name} {line.value:g}" for line in far)
    latest = next(value for _, value in reversed(known))
    least, most = min(value for _, value in known), max(value for _, value in known)
    span = f"{_figure(least)} to {_figure(most)}, last {_figure(latest)}"
    return [f"{title}  {span}{extra}", *rows, *_time(frame)]


def _figure(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low < max(1e-9, abs(high) * 0.02):
        middle, half = (low + high) / 2, max(abs(high) * 0.02, 0.5)
        return middle - half, middle + half
    return low, high


def _scale(low: float, high: float, height: int) -> tuple[float, float, float]:
    """Return bottom and top as round figures, and the step between them."""
    rough = max((high - low) / max(1, height // 2), 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in _STEPS if each * power >= rough * (1 - 1e-9))
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step


def _height(value: float, bottom: float, top: float, frame: Frame) -> int:
    """Return the row of characters in which ``value`` lies, counted from above."""
    dots = round((top - value) / (top - bottom) * (frame.height * _ROWS - 1))
    return dots // _ROWS


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0


def _curve(points: Points, frame: Frame, bottom: float, top: float) -> list[list[int]]:
    """Return the dots of each cell as bits, row by row."""
    cells = [[0] * frame.columns for _ in range(frame.height)]
    wide, tall = frame.columns * _COLUMNS - 1, frame.height * _ROWS - 1

    def place(at: float, value: float) -> tuple[int, int]:
        across = (at - frame.start) / (frame.end - frame.start) * wide
        down = (top - value) / (top - bottom) * tall
        return round(across), round(min(max(down, 0), tall))

    def dot(column: int, row: int) -> None:
        bit = _DOTS[row % _ROWS][column % _COLUMNS]
        cells[row // _ROWS][column // _COLUMNS] |= bit

    inside = [(at, value) for at, value in points if frame.start <= at <= frame.end]
    for at, value in inside:
        if value is not None:
            dot(*place(at, value))
    for (before, old), (after, new) in pairwise(inside):
        if old is not None and new is not None and after - before <= frame.longest_gap:
            for column, row in _between(place(before, old), place(after, new)):
                dot(column, row)
    return cells


def _between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    return [
        (
            round(start[0] + (end[0] - start[0]) * step / steps),
            round(start[1] + (end[1] - start[1]) * step / steps),
        )
        for step in range(1, steps)
    ]


def _row(cells: Sequence[int], line: Line | None, frame: Frame) -> str:
    marked = {frame.column(mark) for mark in frame.marks}
    text = []
    for column, bits in enumerate(cells):
        if bits:
            text.append(chr(_BLANK | bits) if frame.braille else "*")
        elif column in marked:
            text.append("┆")
        else:
            text.append("╌" if line else " ")
    if line is not None:
        name = f" {line.name} {line.value:g} "
        start = len(text) - len(name)
        if start > 0 and not any(cells[start:]):
            text[start:] = name
    return "".join(text)


def _time(frame: Frame) -> list[str]:
    """Return the axis, with times before and after the first mark (or the start), and the marks."""
    zero = frame.marks[0] if frame.marks else frame.start
    span = frame.end - frame.start
    tick = next((each for each in _TICKS if each / span * frame.columns >= _APART), _TICKS[-1])
    axis, labels = ["─"] * frame.columns, [" "] * (frame.columns + _APART)
    taken = -1
    for number in range(math.ceil((frame.start - zero) / tick), math.floor((frame.end - zero) / tick) + 1):
        column = frame.column(zero + number * tick)
        if column is None:
            continue
        axis[column] = "┬"
        label = _clock(number * tick)
        begin = max(0, column - len(label) // 2)
        if begin > taken:
            labels[begin : begin + len(label)] = label
            taken = begin + len(label)
    for mark in frame.marks:
        column = frame.column(mark)
        if column is not None:
            axis[column] = "▲"
    margin = " " * (_SCALE - 1)
    return [f"{margin}└{''.join(axis)}", f"{margin} {''.join(labels)}".rstrip()]


def _clock(seconds: int) -> str:
    """Return ``+1:30`` or ``-10:00``, minutes and seconds."""
    sign = "-" if seconds < 0 else "+" if seconds else ""
    return f"{sign}{abs(seconds) // 60}:{abs(seconds) % 60:02}"
