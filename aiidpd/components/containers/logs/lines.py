"""Lines of a container's log: their times, and their texts as a person may read them (pure)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiidpd.components.containers.docker.payload import parse_time

EARLY_LINES: Final = 0.5
"""Seconds by which a run's first lines may be older than its start: the runtime stamps that afterwards."""
_TIME: Final = re.compile(rb"(\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)) ?", re.ASCII)
_STYLE: Final = re.compile(r"\x1b(?:\[[0-9;:?]{0,32}[A-Za-z]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?)")
_FIGURES: Final = re.compile(r"\d{1,20}")
_COMPARED: Final = 200  # characters of a line by which it repeats another


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output; ``time`` is in Unix seconds, None where the runtime gave none."""

    time: float | None
    text: str


def parse(lines: Iterable[bytes]) -> tuple[LogLine, ...]:
    """Return ``lines`` of the runtime, whose texts can't steer a terminal any more."""
    return tuple(map(_line, lines))


def time_of(line: bytes) -> float | None:
    """Return the time of a line of the runtime."""
    match = _TIME.match(line)
    if match is None:
        return None
    try:
        return parse_time(match[1].decode())
    except ValueError:
        return None


def text_of(line: bytes) -> str:
    """Return the text of a line of the runtime behind its time."""
    match = _TIME.match(line)
    return clean(line[match.end() :] if match else line)


def clean(line: bytes) -> str:
    """Return ``line`` as text without colours; every other character that can't be printed is escaped."""
    text = line.decode(errors="replace")
    if text.isprintable():
        return text
    text = _STYLE.sub("", text).replace("\t", "    ")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def most_repeated(texts: Iterable[str]) -> tuple[str, int]:
    """Return the line that comes most often, the figures in it not counted, and how often that is."""
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for text in texts:
        key = _FIGURES.sub("#", text[:_COMPARED])
        counts[key] += 1
        shown.setdefault(key, text)
    if not counts:
        return "", 0
    key, count = counts.most_common(1)[0]
    return shown[key], count


def _line(line: bytes) -> LogLine:
    return LogLine(time_of(line), text_of(line))
