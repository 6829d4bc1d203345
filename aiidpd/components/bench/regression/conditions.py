"""Conditions of regressions: an endpoint that became slower, and a state file that can't be relied on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from aiidpd.components.bench.regression.circumstances import Change
from aiidpd.components.bench.regression.record import Track
from aiidpd.components.bench.regression.words import changed_words, shift_words
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity

SOURCE: Final = "bench"
REGRESSED: Final = "bench_regressed"
STATE: Final = "bench_baselines_state"


def update_conditions(conditions: Conditions, tracks: Iterable[Track], simulated: frozenset[str]) -> None:
    """Have a condition for each endpoint of ``tracks`` that is slower than its baseline, and no others."""
    conditions.update((REGRESSED,), _regressed(tracks, simulated))


def update_state(conditions: Conditions, path: str, problem: str) -> None:
    """Have a condition while the state at ``path`` has a ``problem``."""
    if not problem:
        conditions.clear(STATE, path)
        return
    reason = f"baselines of endpoints don't outlive the daemon: {problem}"
    remedy = "see whether the disk is full or read-only"
    conditions.set(Condition(STATE, path, Severity.WARNING, reason, remedy, source=SOURCE))


def _regressed(tracks: Iterable[Track], simulated: frozenset[str]) -> Iterator[Condition]:
    for track in tracks:
        parts: list[str] = []
        onsets: list[float] = []
        changed: dict[str, Change] = {}
        for name, state in track.figures.items():
            if state.status == "regressed" and state.shift is not None:
                parts.append(shift_words(name, state.shift))
                onsets.append(state.shift.onset)
                changed |= {each.name: each for each in reversed(track.changed.get(name, ()))}
        if parts:
            nearest = sorted(changed.values(), key=lambda each: abs(each.at - min(onsets)))
            yield Condition(
                REGRESSED,
                track.endpoint,
                Severity.WARNING,
                f"{'; '.join(parts)}; changed with it: {changed_words(nearest)}",
                f"undo what changed, or, if this speed is to be the usual one: aiidpctl bench rebaseline "
                f"{track.endpoint} --reason TEXT",
                source=SOURCE,
                simulated=track.endpoint in simulated,
            )
