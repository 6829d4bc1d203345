"""Between the kernel's dataclasses and the rows of the tables: every value given comes out storable."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from aiidpd.kernel.events import Event, Sample, Severity

Row: TypeAlias = tuple[Any, ...]

EVENT_COLUMNS = "id, time, source, kind, subject, severity, reason, evidence, simulated"
NAME_LIMIT = 512  # characters of a source, kind, subject, series or budget
REASON_LIMIT = 2_000  # characters
EVIDENCE_LIMIT = 8_000  # characters of JSON; an event has one page or two, or one event could fill the disk


@dataclass(frozen=True, slots=True)
class Spend:
    """One unit taken from a budget at ``time`` (Unix seconds)."""

    budget: str
    time: float


@dataclass(frozen=True, slots=True)
class Point:
    """One stretch of a series: ``seconds`` long from ``time`` (Unix seconds), ``count`` samples in it.

    A single sample has ``seconds`` 0 and mean, low and high alike.
    """

    time: float
    mean: float
    low: float
    high: float
    count: int
    seconds: float
    subject: str
    simulated: bool


def clean(text: str, limit: int) -> str:
    """Return ``text`` as UTF-8 can hold it, cut to ``limit`` characters with a mark where it was longer."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def event_row(event: Event) -> Row:
    """Return the row of ``event``; text that is too long is cut, visibly."""
    evidence = json.dumps(dict(event.evidence), separators=(",", ":"))
    if len(evidence) > EVIDENCE_LIMIT:
        evidence = json.dumps({"clipped": evidence[: EVIDENCE_LIMIT // 2]})
    return (
        event.id,
        event.time if math.isfinite(event.time) else 0.0,
        clean(event.source, NAME_LIMIT),
        clean(event.kind, NAME_LIMIT),
        clean(event.subject, NAME_LIMIT),
        int(event.severity),
        clean(event.reason, REASON_LIMIT),
        evidence,
        int(event.simulated),
    )


def event_from(row: Row) -> Event:
    """Return the event in a row of :data:`EVENT_COLUMNS`."""
    identity, time, source, kind, subject, severity, reason, evidence, simulated = row
    return Event(
        id=identity,
        time=time,
        source=source,
        kind=kind,
        subject=subject,
        severity=Severity(severity),
        reason=reason,
        evidence=MappingProxyType(json.loads(evidence)),
        simulated=bool(simulated),
    )


def channel_key(sample: Sample) -> tuple[str, str, str, int]:
    """Return series, subject, source and simulated: what the samples of one channel share."""
    return (
        clean(sample.series, NAME_LIMIT),
        clean(sample.subject, NAME_LIMIT),
        clean(sample.source, NAME_LIMIT),
        int(sample.simulated),
    )


def minute_rows(samples: Iterable[tuple[int, int, float]]) -> list[Row]:
    """Fold (milliseconds, channel, value) into rows of sample_minute, in the order of their key."""
    folded: dict[tuple[int, int], tuple[int, float, float, float]] = {}
    for milliseconds, channel, value in samples:
        key = (milliseconds // 60_000, channel)
        if key in folded:
            count, low, total, high = folded[key]
            folded[key] = (count + 1, min(low, value), total + value, max(high, value))
        else:
            folded[key] = (1, value, value, value)
    return [(*key, *folded[key]) for key in sorted(folded)]
