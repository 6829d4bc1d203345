"""Plot of a ramp as one SVG file: latency above, output with its ceiling below, against load (pure).

It stands alone, follows the reader's choice of light or dark, and says in words what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

_WIDTH: Final = 760
_PANEL: Final = 240
_LEFT: Final = 80
_RIGHT: Final = 24
_TOP: Final = 64
_GAP: Final = 64
_HEIGHT: Final = _TOP + 2 * _PANEL + _GAP + 64
_STEPS: Final = (1, 2, 2.5, 5, 10)
_LINES: Final = 5
_LONGEST: Final = 500  # characters of a text
_LEAST: Final = 1e-12  # below which a value is drawn as none
_HEAD: Final = 76  # characters of the heading that are drawn
_DOUBLINGS: Final = (
    4  # ratio of the largest load to the smallest from which the axis has one length a doubling
)
_STYLE: Final = """\
:root{color-scheme:light dark;--paper:#ffffff;--ink:#1f2328;--faint:#6b7280;--grid:#e2e5e9;
--a:#0b62c4;--b:#b45309;--c:#15803d;--ceiling:#b91c1c}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e8eb;--faint:#9aa3ad;--grid:#2b3138;
--a:#6cb2ff;--b:#f0a860;--c:#5ed38a;--ceiling:#ff8080}}
.paper{fill:var(--paper)}text{fill:var(--ink);font:13px system-ui,sans-serif}
.faint{fill:var(--faint)}.head{font-weight:600;font-size:15px}
.grid{stroke:var(--grid)}.axis{stroke:var(--faint)}
.line{fill:none;stroke-width:2}.a{stroke:var(--a)}.b{stroke:var(--b)}.c{stroke:var(--c)}
.ceiling{stroke:var(--ceiling);stroke-dasharray:6 4}.knee{stroke:var(--faint);stroke-dasharray:2 4}
.dot{stroke:none}.dot.a{fill:var(--a)}.dot.b{fill:var(--b)}.dot.c{fill:var(--c)}.dot.ceiling{fill:var(--ceiling)}
"""


@dataclass(frozen=True, slots=True)
class Point:
    """Level of load: seconds to the first token, tokens a second, and the most that physics allows there."""

    load: float
    ttft_p50: float | None
    ttft_p95: float | None
    output: float | None
    ceiling: float | None = None


@dataclass(frozen=True, slots=True)
class _Curve:
    name: str
    style: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Place of values between two pixels; by doublings where ``doubling``."""

    least: float
    most: float
    begin: float
    end: float
    doubling: bool = False

    def at(self, value: float) -> float:
        low, high, here = self.least, self.most, value
        if self.doubling:
            low, high, here = math.log2(low), math.log2(high), math.log2(here)
        share = (here - low) / (high - low) if high > low else 0.5
        return round(self.begin + (self.end - self.begin) * share, 2)


def svg(points: Sequence[Point], *, title: str, unit: str, knee: float | None = None) -> str:
    """Return the file. ``unit`` is that of the load, as ``users``."""
    ordered = sorted(points, key=lambda each: each.load)
    loads = [each.load for each in ordered]
    latency = [
        _Curve("p50", "a", tuple(each.ttft_p50 for each in ordered)),
        _Curve("p95", "b", tuple(each.ttft_p95 for each in ordered)),
    ]
    output = [
        _Curve("output", "c", tuple(each.output for each in ordered)),
        _Curve("ceiling", "ceiling", tuple(each.ceiling for each in ordered)),
    ]
    shown, label = _text(title), f"aria-label={quoteattr(_clean(title))}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" {label}>',
        f"<title>{shown}</title>",
        f"<desc>{_text(_words(ordered, unit, knee))}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="head" x="{_LEFT}" y="28">{_text(_cut(title))}</text>',
    ]
    lines += _panel(loads, latency, _TOP, ("seconds to the first token", unit), knee)
    lines += _panel(loads, output, _TOP + _PANEL + _GAP, ("tokens a second, all requests", unit), knee)
    return "\n".join([*lines, "</svg>", ""])


def _panel(
    loads: Sequence[float], curves: Sequence[_Curve], top: float, names: tuple[str, str], knee: float | None
) -> Iterator[str]:
    """Yield one panel; ``names`` are those of its values and of the load."""
    name, unit = names
    drawn = [each for each in curves if any(value is not None for value in each.values)]
    highest = max((value for each in drawn for value in each.values if value is not None), default=0.0)
    ticks = _ticks(highest)
    bottom = top + _PANEL
    across = _across(loads)
    down = _Axis(0.0, ticks[-1], bottom, top)
    right = _WIDTH - _RIGHT
    for tick in ticks:
        y = down.at(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield f'<text class="faint" text-anchor="end" x="{_LEFT - 8}" y="{y + 4}">{tick:g}</text>'
    for load in _apart(loads, across):
        x = across.at(load)
        yield f'<line class="axis" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 5}"/>'
        yield f'<text class="faint" text-anchor="middle" x="{x}" y="{bottom + 20}">{load:g}</text>'
    yield f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<text class="faint" text-anchor="end" x="{right}" y="{bottom + 38}">{_text(unit)}</text>'
    yield f'<text x="{_LEFT}" y="{top - 10}">{_text(name)}</text>'
    if knee is not None and loads and loads[0] <= knee <= loads[-1]:
        x = across.at(knee)
        yield f'<line class="knee" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
        yield f'<text class="faint" x="{x + 4}" y="{top + 14}">knee</text>'
    for place, curve in enumerate(drawn):
        yield from _curve(curve, loads, across, down)
        x = right - 90 * (len(drawn) - place)
        yield f'<line class="line {curve.style}" x1="{x}" x2="{x + 20}" y1="{top - 14}" y2="{top - 14}"/>'
        yield f'<text x="{x + 26}" y="{top - 10}">{_text(curve.name)}</text>'


def _curve(curve: _Curve, loads: Sequence[float], across: _Axis, down: _Axis) -> Iterator[str]:
    """Yield the line, which has a gap where a value is not known, and a dot for each value."""
    parts: list[list[str]] = [[]]
    for load, value in zip(loads, curve.values, strict=True):
        if value is None:
            parts.append([])
            continue
        x, y = across.at(load), down.at(value)
        parts[-1].append(f"{x},{y}")
        yield f'<circle class="dot {curve.style}" cx="{x}" cy="{y}" r="3.5"/>'
    for part in parts:
        if len(part) > 1:
            yield f'<polyline class="line {curve.style}" points="{" ".join(part)}"/>'


def _across(loads: Sequence[float]) -> _Axis:
    least, most = (loads[0], loads[-1]) if loads else (0.0, 1.0)
    doubling = least > 0 and most / least >= _DOUBLINGS
    return _Axis(least, most, _LEFT + 16, _WIDTH - _RIGHT - 16, doubling=doubling)


def _apart(loads: Sequence[float], across: _Axis) -> Iterator[float]:
    """Yield those of ``loads`` whose figures have room beside each other."""
    last = -math.inf
    for load in loads:
        if across.at(load) - last >= 40:  # noqa: PLR2004 -- pixels of a figure
            last = across.at(load)
            yield load


def _ticks(highest: float) -> list[float]:
    """Return round figures from 0 to the first at or above ``highest``."""
    if not _LEAST < highest < math.inf:
        return [0.0, 1.0]
    rough = highest / _LINES
    power = 10.0 ** math.floor(math.log10(rough))
    size = next((each * power for each in _STEPS if each * power >= rough * (1 - 1e-9)), 10 * power)
    return [float(f"{place * size:.6g}") for place in range(math.ceil(highest / size - 1e-9) + 1)]


def _words(points: Sequence[Point], unit: str, knee: float | None) -> str:
    found = [f"{each.load:g} {unit}: {_figures(each)}" for each in points]
    return "; ".join([*found, *([f"knee at {knee:g} {unit}"] if knee is not None else [])])


def _figures(point: Point) -> str:
    parts = [
        ("first token p50", point.ttft_p50, " s"),
        ("p95", point.ttft_p95, " s"),
        ("output", point.output, " tok/s"),
        ("ceiling", point.ceiling, " tok/s"),
    ]
    return ", ".join(f"{name} {value:.4g}{of}" for name, value, of in parts if value is not None) or "none"


def _cut(words: str) -> str:
    return words if len(words) <= _HEAD else f"{words[: _HEAD - 1]}\N{HORIZONTAL ELLIPSIS}"


def _text(words: str) -> str:
    return escape(_clean(words))


def _clean(words: str) -> str:
    """Return ``words`` without what XML can't hold."""
    return "".join(each if each.isprintable() else " " for each in words[:_LONGEST])
