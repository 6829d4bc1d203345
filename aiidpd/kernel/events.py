"""Facts that cross from one room to another: events for people, samples for curves (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


class Severity(IntEnum):
    """Weight of an event for the person on call."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened or was decided, with its reason and the evidence for it.

    ``time`` is in Unix seconds; ``source`` is the worker or room; ``kind`` is dotted and bounded
    (``container.died``); ``subject`` names the one thing it is about; ``reason`` is a sentence.
    ``id`` is given by the bus: it grows by one an event, across restarts too.
    """

    time: float
    source: str
    kind: str
    reason: str
    subject: str = ""
    severity: Severity = Severity.INFO
    evidence: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    simulated: bool = False
    id: int = 0

    def __post_init__(self) -> None:
        json.dumps(
            dict(self.evidence), allow_nan=False
        )  # evidence that can't be stored is a bug at its source


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of one series: ``series`` carries its unit in its name (``temperature_celsius``)."""

    time: float
    source: str
    series: str
    subject: str
    value: float
    simulated: bool = False
