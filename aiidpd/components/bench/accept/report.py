"""Report of one acceptance, as a document (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiidpd.components.bench.accept.verdict import Measured, Verdict, accepted


@dataclass(frozen=True, slots=True)
class Report:
    """Verdicts on the criteria of ``profile`` for the server at ``target``, with circumstances.

    ``problem`` is why nothing was measured, empty where something was. ``seconds`` is how long it took.
    """

    target: str
    model: str
    engine: str
    profile: str
    verdicts: tuple[Verdict, ...]
    figures: Mapping[str, Measured]
    requests: int
    seconds: float
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def accepted(self) -> bool:
        """Return whether every criterion that counts was met."""
        return not self.problem and accepted(self.verdicts)

    def document(self) -> dict[str, Any]:
        """Return it for JSON; limits and figures in seconds, tokens a second, shares and numbers."""
        return {
            "target": self.target,
            "model": self.model,
            "engine": self.engine,
            "profile": self.profile,
            "accepted": self.accepted,
            "problem": self.problem,
            "requests": self.requests,
            "seconds": self.seconds,
            "criteria": [_verdict(each) for each in self.verdicts],
            "figures": {
                name: {"value": each.value, "reason": each.reason, "samples": each.samples}
                for name, each in self.figures.items()
            },
            "notes": list(self.notes),
        }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    criterion = verdict.criterion
    return {
        "name": criterion.name,
        "text": criterion.text,
        "figure": criterion.figure,
        "bound": criterion.bound.value,
        "limit": verdict.limit,
        "required": criterion.required,
        "engine": criterion.engine,
        "outcome": verdict.outcome.value,
        "value": verdict.value,
        "reason": verdict.reason,
        "samples": verdict.samples,
    }
