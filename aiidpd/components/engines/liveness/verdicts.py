"""Verdicts on engines, where those who show engines find them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from aiidpd.components.engines.liveness.history import ColdStart
from aiidpd.contracts.engines import EngineState, EnginesView, Verdict
from aiidpd.kernel.reading import Reading


@dataclass(frozen=True, slots=True)
class EngineVerdict:
    """Verdict on one engine, since when (Unix seconds), and its evidence in a sentence."""

    verdict: Verdict
    since: float
    reason: str
    model: str = ""
    start: ColdStart | None = None
    """Last start that was observed."""


class Verdicts:
    """Last verdict on each engine, by its name."""

    def __init__(self) -> None:
        self._by_name: dict[str, EngineVerdict] = {}
        self._merged: tuple[Reading[EnginesView], int, Reading[EnginesView]] | None = None
        self._version = 0
        self.checks: dict[str, int] = {}
        """Completions of one token that were sent, by their result."""

    def put(self, name: str, verdict: EngineVerdict) -> None:
        """Replace the verdict on an engine."""
        if self._by_name.get(name) != verdict:
            self._by_name[name] = verdict
            self._version += 1

    def only(self, names: Collection[str]) -> None:
        """Forget every engine but those of ``names``."""
        for name in [each for each in self._by_name if each not in names]:
            del self._by_name[name]
            self._version += 1

    def get(self, name: str) -> EngineVerdict | None:
        """Return the verdict on an engine, None where there is none."""
        return self._by_name.get(name)

    def all(self) -> tuple[tuple[str, EngineVerdict], ...]:
        """Return every verdict with the name of its engine."""
        return tuple(self._by_name.items())

    def merged(self, reading: Reading[EnginesView] | None) -> Reading[EnginesView] | None:
        """Return the reading of all engines with their verdicts; made once for each change."""
        if reading is None or not self._by_name:
            return reading
        known = self._merged
        if known is None or known[0] is not reading or known[1] != self._version:
            view = EnginesView(tuple(map(self._with_verdict, reading.value.engines)))
            known = (reading, self._version, Reading(view, reading.at, reading.read))
            self._merged = known
        return known[2]

    def _with_verdict(self, state: EngineState) -> EngineState:
        found = self._by_name.get(state.name)
        if found is None:
            return state
        return replace(state, verdict=found.verdict, verdict_since=found.since, verdict_reason=found.reason)
