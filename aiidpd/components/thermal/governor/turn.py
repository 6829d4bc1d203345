"""One GPU's part of one pass: from one level to another, and whether the card obeyed (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.governor.ladder import Facts, Step, build, commands
from aiidpd.components.thermal.governor.levels import burnt_less
from aiidpd.components.thermal.governor.state import (
    BackOff,
    Effect,
    GpuState,
    Move,
    Settled,
    Yielded,
)
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.settings import GovernorSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu

_STRANGE = 3  # readings in a row that must agree on a setting that is not the one that was set
_UNSURE = 2.0  # times what a body of the policy's heat capacity would do: a lighter one turns faster


@dataclass(slots=True)
class Decision:
    """One GPU's part of one pass: what is decided about it, and all that the decision needs."""

    gpu: CheckedGpu
    settings: GovernorSettings
    dry: bool
    effects: list[Effect] = field(default_factory=list)
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def reading(self) -> GpuReading:
        """The reading itself; whether its temperature counts is for ``gpu`` to say."""
        return self.gpu.reading

    @property
    def now(self) -> float:
        """When it was read, in monotonic seconds."""
        return self.gpu.now


def laddered(held: GpuState, settings: GovernorSettings) -> GpuState:
    """Return ``held`` with a ladder; at an untouched baseline it is made anew, from what is known now."""
    if held.level > 0 or held.touched:
        return held
    ladder = build(held.facts, settings, held.without)
    return held._replace(ladder=ladder, applied=ladder[0])


def to(held: GpuState, level: int, reason: str, turn: Decision) -> GpuState:
    """Return ``held`` on ``level``, and add what brings it there to the turn's effects."""
    if not held.ladder or (level == held.level and held.applied == held.rung):
        return held
    rung, before, uuid = held.ladder[level], held.rung, turn.reading.uuid
    locks = held.clocks_touched or rung.clock_hertz is not None
    todo = () if turn.dry else commands(uuid, held.applied, rung, clocks_touched=locks)
    move = Move(
        index=held.number,
        uuid=uuid,
        name=held.name,
        before=held.level,
        after=level,
        rung=rung,
        baseline_watts=held.ladder[0].power_watts,
        touched_before=held.touched,
        clocks_touched=locks,
        commands=todo,
        reason=f"GPU {held.number} ({held.name}): {reason}",
        evidence=turn.evidence,
        dry_run=turn.dry,
    )
    if level != held.level or todo:
        turn.effects.append(move)
    if rung.back_off != before.back_off:
        turn.effects.append(BackOff(held.number, uuid, rung.back_off, move.reason, turn.dry))
    if turn.dry:
        return held._replace(level=level, changed=turn.now, strange=0)
    rate = burnt_less(held, level, turn.reading.power_watts) / tuning.HEAT_CAPACITY
    return held._replace(
        level=level,
        changed=turn.now,
        trend=held.trend.turned(-rate, _UNSURE * rate),
        strange=0,
        applied=rung,
        touched=held.touched or bool(todo),
        clocks_touched=locks,
    )


def watched(held: GpuState, turn: Decision) -> GpuState:
    """Compare what the card says with what was set: it holds, it is restored, it is lost, or not ours."""
    asked, found = held.rung.power_watts, turn.reading.power_limit_set_watts
    if held.applied is None or turn.now <= held.changed or (asked is not None and found is None):
        return held
    if asked is None or found is None or abs(found - asked) <= tuning.TOLERANCE_WATTS:
        if held.level == 0:
            return _settled(held, turn)
        return held._replace(strange=0) if held.strange else held
    if turn.now - held.changed < tuning.SETTLE or held.strange + 1 < _STRANGE:
        return held._replace(strange=held.strange + 1)
    limits = (rung.power_watts for rung in held.ladder)
    if any(limit is not None and abs(found - limit) <= tuning.TOLERANCE_WATTS for limit in limits):
        return held._replace(applied=None, strange=0)  # one of ours came late, or was lost: set it again
    return _yielded(held, asked, found, turn)


def _yielded(held: GpuState, asked: float, found: float, turn: Decision) -> GpuState:
    why = f"its power limit is {found:g} W where {asked:g} W was set: somebody else set it"
    reason = f"GPU {held.number} ({held.name}): {why}"
    turn.effects.append(Yielded(held.number, turn.reading.uuid, reason, found))
    if held.rung.back_off:
        turn.effects.append(
            BackOff(held.number, turn.reading.uuid, asked=False, reason=reason, dry_run=False)
        )
    # Their limit is the baseline from now on; clocks that we locked stay ours to unlock.
    return held._replace(
        ladder=(Step(found),), level=0, applied=None, strange=0, facts=Facts().learn(turn.reading)
    )


def _settled(held: GpuState, turn: Decision) -> GpuState:
    """Return ``held`` as one that was never touched."""
    watts = held.rung.power_watts
    turn.effects.append(Settled(held.number, turn.reading.uuid, held.name, watts))
    return held._replace(
        facts=Facts().learn(turn.reading),
        ladder=(),
        applied=Step(),
        touched=False,
        clocks_touched=False,
        strange=0,
    )
