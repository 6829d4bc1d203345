"""Evidence of an upgrade: images, containers, measurements, verdict (pure). It is the document too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aiidpd.components.bench.compare.agreement import Agreement
from aiidpd.components.bench.compare.result import FigureResult, PairFigures, Times

Outcome = Literal["running", "kept", "returned", "not tried", "interrupted"]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image."""

    reference: str
    id: str
    """Id by which it is used; empty where it is not on this machine."""
    digests: tuple[str, ...] = ()
    """Names with the digest under which a registry has it."""


@dataclass(frozen=True, slots=True)
class CriterionRecord:
    """One criterion of the acceptance."""

    name: str
    wanted: str
    outcome: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of one side, in seconds; null where a figure is withheld."""

    side: Literal["old", "new"]
    round: int
    times: Times


@dataclass(frozen=True, slots=True)
class Finding:
    """Reason for the verdict: what stands in the way of the new image, and what would make it clear."""

    criterion: str
    text: str
    clear: bool = True
    """False where too little is known."""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Upgrade of a container, as far as it has come. Times in Unix seconds."""

    version: Literal[1]
    id: str
    container: str
    began_at: float
    old_image: ImageRecord
    new_image: ImageRecord
    mode: Literal["in place", "beside"]
    mode_reason: str
    stage: str
    outcome: Outcome
    reason: str = ""
    """Sentence about why it ended so."""
    ended_at: float | None = None
    requested_by: str = ""
    pairs: int = 0
    slower: float = 0.0
    agree: float = 0.0
    endpoint: str = ""
    model: str = ""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    stopped_seconds: float | None = None
    """Time in which no container ran under the name."""
    ready_seconds: float | None = None
    """Time from the start of the new engine until it answered."""
    acceptance: tuple[CriterionRecord, ...] = ()
    acceptance_problem: str = ""
    figures: tuple[FigureResult, ...] = ()
    """Old (A) beside new (B)."""
    answers: Agreement = field(default_factory=Agreement)
    measurements: tuple[Measurement, ...] = ()
    compared: tuple[PairFigures, ...] = ()
    """Pairs, where both ran at once."""
    differences: tuple[str, ...] = ()
    """Fields in which the two containers are described differently."""
    old_log: tuple[str, ...] = ()
    new_log: tuple[str, ...] = ()
    simulated: bool = False
