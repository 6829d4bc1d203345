"""Findings, waivers and the report of an audit (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Final

from aiidpd.components.audit.rule import Edit, Found, Level, Rule
from aiidpd.components.audit.yaml_lines import lines_of

_LONGEST: Final = 500  # characters of a text that holds names from outside
_MOST_OF_A_RULE: Final = 64  # findings of one rule on one subject


@dataclass(frozen=True, slots=True)
class Waiver:
    """Findings that somebody accepted: of a rule, about subjects that match a pattern, until a day."""

    rule: str
    subject: str
    reason: str
    until: str
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. ``rule`` and ``subject`` with ``what`` are its identity.

    ``kind`` is what it is about: container, service, engine, host, listener, model, waiver. ``lines`` mend it
    in a compose file, under the service; ``edits`` are the same for a program. ``guess``: their values are
    for a person to choose.
    """

    rule: str
    severity: Level
    kind: str
    subject: str
    title: str
    what: str
    where: str
    why: str
    remedy: str
    cis: str = ""
    lines: tuple[str, ...] = ()
    guess: bool = False
    waived: Waiver | None = None
    edits: tuple[Edit, ...] = field(default=(), compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity of the finding, from one audit to the next."""
        return self.rule, self.subject, self.what


def finding(rule: Rule[object], kind: str, subject: str, found: Found) -> Finding:
    """Return what ``rule`` found about ``subject``, bounded and printable."""
    return Finding(
        rule.id,
        rule.severity if found.severity is None else found.severity,
        kind,
        printable(subject),
        rule.title,
        printable(found.what),
        printable(found.where),
        rule.why,
        found.remedy or rule.remedy,
        rule.cis,
        tuple(printable(line) for line in lines_of(found.edits)),
        found.guess,
        edits=found.edits,
    )


def printable(text: str) -> str:
    """Return ``text`` as one line of bounded length that steers no terminal and can be written anywhere."""
    if len(text) <= _LONGEST and text.isprintable():
        return text
    whole = "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[: _LONGEST + 1]
    )
    return whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def bounded(found: Iterable[Found]) -> Iterable[Found]:
    """Yield as many of ``found`` as anybody reads, each once."""
    seen: set[str] = set()
    for each in found:
        if len(seen) >= _MOST_OF_A_RULE:
            return
        if each.what not in seen:
            seen.add(each.what)
            yield each


def waive(findings: Iterable[Finding], waivers: Iterable[Waiver]) -> tuple[Finding, ...]:
    """Return ``findings``, those marked that a waiver in force accepts, the gravest first."""
    active = [each for each in waivers if not each.ended]
    by_rule: dict[str, list[Waiver]] = {}
    for waiver in active:
        by_rule.setdefault(waiver.rule, []).append(waiver)
    marked = []
    for each in findings:
        accepted = next(
            (one for one in by_rule.get(each.rule, ()) if fnmatchcase(each.subject, one.subject)), None
        )
        marked.append(replace(each, waived=accepted) if accepted is not None else each)
    return tuple(sorted(marked, key=_order))


def _order(each: Finding) -> tuple[bool, int, str, str, str]:
    return each.waived is not None, -each.severity, each.kind, each.subject, each.rule


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of one audit. ``unchecked`` are rules that could not be judged, each with the reason.

    ``subjects`` counts what was judged, by kind.
    """

    findings: tuple[Finding, ...] = ()
    unchecked: Mapping[str, str] = field(default_factory=dict)
    subjects: Mapping[str, int] = field(default_factory=dict)
    simulated: bool = False

    @property
    def counts(self) -> Counter[Level]:
        """Number of findings that are not waived, by severity."""
        return Counter(each.severity for each in self.findings if each.waived is None)
