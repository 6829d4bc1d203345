"""Completions of one token that show whether an idle engine answers: when one may be sent (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.liveness.state import LivenessState
from aiidpd.contracts.engines import Residency, Verdict

_FRESH_SECONDS: Final = 15.0
_QUIET_SECONDS: Final = 10.0
TWICE: Final = 2
"""Deadlines missed in a row before that counts."""


@dataclass(frozen=True, slots=True)
class CheckState:
    """Checks of one run of an engine so far.

    ``sent`` is when the last was sent, ``missed`` how many deadlines passed in a row, ``missed_since`` when
    the first of those was sent. ``ended`` counts those that ended.
    """

    run: float | None = None
    sent: float | None = None
    missed: int = 0
    missed_since: float | None = None
    ended: int = 0

    @property
    def unanswered_since(self) -> float | None:
        """Moment at which the first of those was sent that passed their deadlines, once that counts."""
        return self.missed_since if self.missed >= TWICE else None


def due(
    check: CheckState, live: LivenessState, seen: Observation, interval: float, *, back_off: bool
) -> bool:
    """Return whether the engine may and should be sent a completion now.

    Never to one whose model may sleep, nor beside a request or a probe, nor while a GPU is to be left alone.
    """
    engine = seen.engine
    allowed = (
        interval > 0
        and not back_off
        and not engine.may_sleep
        and not engine.simulated
        and engine.residency is Residency.LOADED
        and not seen.probing
    )
    if not allowed or live.verdict not in (Verdict.IDLE, Verdict.STALLED, Verdict.HUNG):
        return False
    fresh = engine.read is not None and seen.now - engine.read <= _FRESH_SECONDS and not engine.reason
    quiet = live.idle_since is not None and seen.now - live.idle_since >= _QUIET_SECONDS
    if not fresh or not quiet or engine.requests_running != 0 or engine.requests_waiting:
        return False
    if 0 < check.missed < TWICE:
        return True
    return seen.now - max(live.began, live.progressed or 0.0, check.sent or 0.0) >= interval


def sent(check: CheckState, now: float) -> CheckState:
    """Return the state once a completion is under way."""
    return replace(check, sent=now, missed_since=check.missed_since if check.missed else now)


def answered(check: CheckState) -> CheckState:
    """Return the state after an answer in time, an error too: whoever refuses is alive."""
    return replace(check, missed=0, missed_since=None, ended=check.ended + 1)


def missed(check: CheckState) -> CheckState:
    """Return the state after a deadline passed without an answer."""
    return replace(check, missed=check.missed + 1, ended=check.ended + 1)


def observed(check: CheckState, live: LivenessState) -> CheckState:
    """Return the state after an observation: another run, or a step since, ends what was missed."""
    if check.run != live.run:
        return CheckState(run=live.run, ended=check.ended)
    if check.missed and check.sent is not None and (live.progressed or 0.0) > check.sent:
        return replace(check, missed=0, missed_since=None)
    return check
