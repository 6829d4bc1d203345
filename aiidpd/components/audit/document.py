"""Findings as documents: of the API, and of commands without a daemon (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.components.audit.finding import Finding


@dataclass(frozen=True, slots=True)
class WaiverDocument:
    """Acceptance of a finding by a person."""

    reason: str
    until: str
    """Last day, as YYYY-MM-DD."""


@dataclass(frozen=True, slots=True)
class FindingDocument:
    """Something that is not as it should be."""

    rule: str
    severity: str
    """Severity: low, medium, high or critical."""
    kind: str
    """Kind of the subject: container, service, engine, host, listener, model or waiver."""
    subject: str
    title: str
    what: str
    where: str
    """Key of a compose file, or place on the machine."""
    why: str
    remedy: str
    cis: str
    """Number in section 2, 4 or 5 of the CIS Docker Benchmark 1.6; empty where it has none."""
    lines: list[str]
    """Lines of a compose file, below the service, that mend it."""
    guess: bool
    """A person must choose the values in the lines."""
    waived: WaiverDocument | None = None
    """Waiver that is in force, where there is one."""
    since: float | None = None
    """Time (Unix seconds) at which it was found; null without a daemon."""
    file: str = ""
    line: int | None = None
    """Line of the service in the file, where a file was judged."""


def document_of_finding(
    found: Finding, *, since: float | None = None, file: str = "", line: int | None = None
) -> FindingDocument:
    """Return the document of ``found``."""
    waived = WaiverDocument(found.waived.reason, found.waived.until) if found.waived is not None else None
    return FindingDocument(
        found.rule,
        found.severity.word,
        found.kind,
        found.subject,
        found.title,
        found.what,
        found.where,
        found.why,
        found.remedy,
        found.cis,
        list(found.lines),
        found.guess,
        waived,
        since,
        file,
        line,
    )
