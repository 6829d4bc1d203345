"""Rules on waivers: what was accepted, and until when (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, rule


@dataclass(frozen=True, slots=True)
class WaiverFacts:
    """A waiver of the configuration, as of today. ``unknown``: there is no rule of that name."""

    rule: str
    subject: str
    until: str
    ended: bool = False
    unknown: bool = False


@rule(
    "waiver-ended",
    Level.MEDIUM,
    "A waiver has ended",
    why="What was accepted for a time is found again, and nobody decided on it since.",
    remedy="mend the finding and take the waiver out, or give it a new date with a reason",
)
def waiver_ended(waiver: WaiverFacts, _: Facts) -> Iterator[Found]:
    """Find waivers whose last day is over."""
    if waiver.ended:
        yield Found(
            f"the waiver of {waiver.rule} for {waiver.subject} ended on {waiver.until}", "audit.waivers"
        )


@rule(
    "waiver-unknown-rule",
    Level.LOW,
    "A waiver names no rule",
    why="It waives nothing: the rule's name is mistyped.",
    remedy="see `aiidpctl audit rules`",
)
def waiver_unknown_rule(waiver: WaiverFacts, _: Facts) -> Iterator[Found]:
    """Find waivers of rules that do not exist."""
    if waiver.unknown:
        yield Found(f"there is no rule {waiver.rule}", "audit.waivers")


RULES: Final = (waiver_ended, waiver_unknown_rule)
