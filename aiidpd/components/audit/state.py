"""Findings from one audit to the next: which are new, and which are gone (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from aiidpd.components.audit.finding import Finding, Report
from aiidpd.components.audit.rule import Level
from aiidpd.kernel.events import Event, Severity

Key: TypeAlias = tuple[str, str, str]
FOUND: Final = "audit.found"
MENDED: Final = "audit.mended"
FIRST: Final = "audit.first"
_SEVERITIES: Final = {
    Level.CRITICAL: Severity.ERROR,
    Level.HIGH: Severity.WARNING,
    Level.MEDIUM: Severity.INFO,
    Level.LOW: Severity.INFO,
}
_MOST_EVENTS: Final = 50  # of one audit; the rest is in the report
_SHOWN: Final = 3  # findings of one subject in the words of an event
_LONGEST: Final = 1000  # characters of the rules in it
_MOST: Final = 10_000  # findings that are remembered


@dataclass(frozen=True, slots=True)
class Known:
    """A finding as it is remembered: its kind, and since when (Unix seconds) it is so."""

    kind: str
    since: float


@dataclass(frozen=True, slots=True)
class AuditState:
    """Findings as of the last audit; ``begun`` are the kinds that were ever judged."""

    known: Mapping[Key, Known] = field(default_factory=lambda: MappingProxyType({}))
    begun: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FindingRecord:
    """A finding in the state file."""

    rule: str
    subject: str
    what: str
    kind: str
    since: float


@dataclass(frozen=True, slots=True)
class FindingRecords:
    """Every finding that was known, so that a new daemon publishes none of them again."""

    version: Literal[1]
    kinds: tuple[str, ...]
    findings: tuple[FindingRecord, ...]


def records(state: AuditState) -> FindingRecords:
    """Return what a later daemon needs of ``state``."""
    findings = (FindingRecord(*key, known.kind, known.since) for key, known in state.known.items())
    return FindingRecords(1, tuple(sorted(state.begun)), tuple(findings))


def restored(found: FindingRecords) -> AuditState:
    """Return the state that an earlier daemon left."""
    known = {(each.rule, each.subject, each.what): Known(each.kind, each.since) for each in found.findings}
    return AuditState(known, frozenset(found.kinds))


def step(
    state: AuditState, report: Report, judged: frozenset[str], now: float
) -> tuple[AuditState, tuple[Event, ...]]:
    """Return the state after ``report``, made at ``now`` (Unix seconds), and the events to be published.

    ``judged`` are the kinds of subjects that are known now: of others, nothing is new and nothing is gone.
    """
    found: dict[Key, Finding] = {}
    for each in report.findings:
        if each.waived is None and len(found) < _MOST:
            found.setdefault(each.key, each)
    known = {key: state.known.get(key, Known(each.kind, now)) for key, each in found.items()}
    kept = {key: each for key, each in state.known.items() if each.kind not in judged and key not in known}
    after = AuditState({**kept, **known}, state.begun | judged)
    first = [each for each in found.values() if each.kind not in state.begun]
    gone = [(key, each) for key, each in state.known.items() if key not in after.known]
    new = [each for key, each in found.items() if key not in state.known and each.kind in state.begun]
    events = (*_first(first, now), *_new(new, now), *_gone(gone, now))
    return after, events[:_MOST_EVENTS]


def _first(found: list[Finding], now: float) -> Iterator[Event]:
    """Yield one event for each kind that was never judged before: its findings are no news."""
    for kind in sorted({each.kind for each in found}):
        counts = Counter(each.severity for each in found if each.kind == kind)
        number = sum(counts.values())
        words = ", ".join(f"{counts[level]} {level.word}" for level in reversed(Level) if counts[level])
        severity = max(_SEVERITIES[level] for level in counts)
        reason = f"{kind}: the first audit has {number} findings ({words}); see aiidpctl audit"
        yield Event(now, "", FIRST, reason, kind, severity)


def _new(found: list[Finding], now: float) -> Iterator[Event]:
    """Yield an event for each subject about which something is found, the gravest first."""
    subjects: dict[tuple[str, str], list[Finding]] = {}
    for each in sorted(found, key=lambda one: -one.severity):
        subjects.setdefault((each.kind, each.subject), []).append(each)
    for (kind, subject), findings in subjects.items():
        worst = findings[0]
        yield Event(
            now,
            "",
            FOUND,
            f"{_listed([each.what for each in findings])}; see aiidpctl audit",
            subject,
            _SEVERITIES[worst.severity],
            {
                "of": kind,
                "severity": worst.severity.word,
                "rules": ", ".join(dict.fromkeys(each.rule for each in findings))[:_LONGEST],
            },
        )


def _gone(found: list[tuple[Key, Known]], now: float) -> Iterator[Event]:
    """Yield an event for each subject about which something is found no more."""
    subjects: dict[tuple[str, str], list[Key]] = {}
    for key, known in found:
        subjects.setdefault((known.kind, key[1]), []).append(key)
    for (kind, subject), keys in subjects.items():
        rules = ", ".join(dict.fromkeys(rule for rule, _, _ in keys))[:_LONGEST]
        reason = f"no longer: {_listed([what for _, _, what in keys])}"
        yield Event(now, "", MENDED, reason, subject, Severity.INFO, {"of": kind, "rules": rules})


def _listed(words: list[str]) -> str:
    more = f", and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{', '.join(words[:_SHOWN])}{more}"
