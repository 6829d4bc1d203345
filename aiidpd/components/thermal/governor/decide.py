"""Decisions of the governor: when a GPU has to draw less, and when it gets its power back (pure).

A GPU is on a level of its :mod:`.ladder`: 0 is the baseline, as it was found. It goes down the ladder
when its temperature will reach the target within the horizon, before the driver throttles; and up again
one level at a time when it has been cool for a while, each time later where the last try made it hot again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.governor.ladder import Facts, Step, build, commands
from aiidpd.components.thermal.governor.levels import (
    level_above,
    level_below,
    may_rise,
    must_fall,
    power_saved,
)
from aiidpd.components.thermal.governor.state import (
    BackOff,
    Blind,
    Effect,
    GovernorState,
    GpuState,
    Move,
    Restored,
    Yielded,
)
from aiidpd.components.thermal.governor.trend import TrendForecast
from aiidpd.components.thermal.gpu import GpuReading, Limit
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot, Trust
from aiidpd.kernel.words import apart

THROTTLING = frozenset({"hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown"})
"""Clock events with which the driver lowers the clocks because of heat (or may)."""

_PATIENCE = 15.0  # seconds: a true jump is believed sooner (thresholds.JUMP_SETTLES)
_CLOSEST = 1.0  # degrees below the card's own limit: an absolute target may not lie above that
_MISMATCHES = 3  # readings in a row of a setting that is not the one that was set
_UNSURE = 2.0  # times the change of a body of HEAT_CAPACITY: a lighter one changes faster


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
        """Reading as the driver gave it; its temperature may not be believed: see ``gpu``."""
        return self.gpu.reading

    @property
    def now(self) -> float:
        """Time of the reading, in monotonic seconds."""
        return self.gpu.now


def over_target(gpu: CheckedGpu, settings: GovernorSettings) -> float | None:
    """Return by how many degrees ``gpu`` lies above the target; None where either is not known."""
    slowdown, highest = gpu.degrees_left(Limit.SLOWDOWN), gpu.degrees_left(Limit.GPU_MAX)
    left = highest if slowdown is None else slowdown if highest is None else min(slowdown, highest)
    if settings.target_celsius is None:
        return None if left is None else settings.margin_celsius - left
    if gpu.temperature is None:
        return None
    own = gpu.temperature - settings.target_celsius
    return own if left is None else max(own, _CLOSEST - left)


def step(
    state: GovernorState, snapshot: CheckedSnapshot, settings: GovernorSettings
) -> tuple[GovernorState, tuple[Effect, ...]]:
    """Return the state after ``snapshot``, and the effects to apply.

    A GPU that is not in the snapshot stays as it is, and is no longer one that can't be governed: the alert
    on its loss says more. Turned off, every GPU goes to its baseline. After a setting that the driver did not
    take, :func:`.refusals.refused` gives the state for the next step.
    """
    effects: list[Effect] = []
    dry = settings.mode is GovernorMode.DRY_RUN or not state.permitted
    gpus = {}
    for gpu in snapshot.gpus:
        reading = gpu.reading
        before = state.gpus.get(reading.uuid) or GpuState(reading.index, reading.name)
        if (before.number, before.name) != (reading.index, reading.name):
            before = before._replace(number=reading.index, name=reading.name)
        gpus[reading.uuid] = _step(before, Decision(gpu, settings, dry, effects))
    for uuid, gone in state.gpus.items():
        if gone.blind and uuid not in gpus:
            effects.append(Blind(gone.number, uuid, ""))
            gpus[uuid] = gone._replace(blind="")
    return state.updated(gpus), tuple(effects)


def _step(state: GpuState, decision: Decision) -> GpuState:
    if state.touched:
        state = _verified(state, decision)
    else:
        facts = state.facts.learn(decision.reading)
        state = state if facts is state.facts else state._replace(facts=facts)
    if decision.now < state.retry_at:
        return state
    if decision.settings.mode is GovernorMode.OFF:
        return _move_to(state, 0, "the governor is off", decision)
    over = over_target(decision.gpu, decision.settings)
    state = _with_visibility(state, over, decision)
    return state if over is None else _governed(state, over, decision)


def _governed(state: GpuState, over: float, decision: Decision) -> GpuState:
    reading, now, settings = decision.reading, decision.now, decision.settings
    state = state._replace(
        trend=state.trend.add(now, over),
        near_at=now if over >= -tuning.HYSTERESIS else state.near_at,
        warm_at=now if over >= -tuning.IDLE else state.warm_at,
    )
    forecast = state.trend.forecast(tuning.HORIZON)
    throttling = THROTTLING.intersection(reading.clock_events) if reading.clock_events else ()
    if must_fall(state, forecast, now, throttled=bool(throttling)):
        state = _with_ladder(state, settings)
        level = level_below(state, forecast, reading.power_watts)
        if level > state.level:
            decision.evidence = _evidence(reading, over, forecast)
            state = _with_relapse(state, now)
            return _move_to(state, level, _why_down(over, forecast, sorted(throttling)), decision)
    elif may_rise(state, forecast, now, settings):
        decision.evidence = _evidence(reading, over, forecast)
        relapses = 0 if state.level == 1 and over < -tuning.IDLE else state.relapses
        state = state._replace(raised=now, relapses=relapses)
        why = f"no reading came within {tuning.HYSTERESIS:g} °C of the target for a while"
        return _move_to(state, level_above(state, forecast, decision.gpu), why, decision)
    if state.applied is None and not decision.dry:
        decision.evidence = _evidence(reading, over, forecast)
        return _move_to(state, state.level, "its settings may have been lost", decision)
    return state


def _with_relapse(state: GpuState, now: float) -> GpuState:
    """Return ``state`` with one relapse more where it is hot again soon after it went up."""
    if now - state.raised < tuning.RELAPSE:
        return state._replace(relapses=state.relapses + 1, raised=-math.inf)
    return state


def _with_visibility(state: GpuState, over: float | None, decision: Decision) -> GpuState:
    """Return ``state``, and add an effect once when the GPU can't be governed, and once when it can again."""
    reading, reason = decision.reading, ""
    if over is not None:
        state = state._replace(governed_at=decision.now)
    elif decision.gpu.distrusted:
        if decision.gpu.trust is not Trust.FROZEN and decision.now - state.governed_at < _PATIENCE:
            return state  # a glitch, or a jump that is about to be believed
        reason = f"its temperature is not believed: {decision.gpu.trust.value}"
    elif reading.temperature_celsius is None and reading.temperature_margin_celsius is None:
        reason = "its temperature can't be read"
    else:
        reason = "the card names no limit of its own: set gpu.governor.target_celsius"
    if reason == state.blind:
        return state
    decision.effects.append(Blind(state.number, reading.uuid, reason))
    return state._replace(blind=reason)


def _why_down(over: float, forecast: TrendForecast, throttling: list[str]) -> str:
    if throttling:
        return f"the driver throttles already ({', '.join(throttling)})"
    where = f"it is {apart(over, 'its target')}"
    if over >= 0:
        rises = forecast.rate * 60
        return f"{where} and " + (f"rises by {rises:.1f} °C a minute" if rises > 0 else "does not fall")
    if forecast.now >= 0:
        return f"{where} just now, but by its last readings together above it, and does not fall"
    return (
        f"{where} and rises by {forecast.rate * 60:.1f} °C a minute: "
        f"it would reach the target within {tuning.HORIZON:g} s"
    )


def _evidence(reading: GpuReading, over: float, forecast: TrendForecast) -> dict[str, float]:
    evidence = {
        "over_target_celsius": round(over, 3),
        "rate_celsius_per_second": round(forecast.rate, 4),
        "forecast_over_target_celsius": round(forecast.later, 3),
        "forecast_error_celsius": round(forecast.error, 3),
    }
    for name in ("temperature_celsius", "power_watts", "power_limit_set_watts"):
        value = getattr(reading, name)
        if value is not None:
            evidence[name] = value
    return evidence


def _with_ladder(state: GpuState, settings: GovernorSettings) -> GpuState:
    """Return ``state`` with a ladder; at an untouched baseline it is made anew, from the facts of now."""
    if state.level > 0 or state.touched:
        return state
    ladder = build(state.facts, settings, state.without)
    return state._replace(ladder=ladder, applied=ladder[0])


def _move_to(state: GpuState, level: int, reason: str, decision: Decision) -> GpuState:
    """Return ``state`` on ``level``, and add the move there to the decision's effects."""
    if not state.ladder or (level == state.level and state.applied == state.step):
        return state
    target, before, uuid = state.ladder[level], state.step, decision.reading.uuid
    locks = state.clocks_touched or target.clock_hertz is not None
    todo = () if decision.dry else commands(uuid, state.applied, target, clocks_touched=locks)
    move = Move(
        index=state.number,
        uuid=uuid,
        name=state.name,
        before=state.level,
        after=level,
        step=target,
        baseline_watts=state.ladder[0].power_watts,
        touched_before=state.touched,
        clocks_touched=locks,
        commands=todo,
        reason=f"GPU {state.number} ({state.name}): {reason}",
        evidence=decision.evidence,
        dry_run=decision.dry,
    )
    if level != state.level or todo:
        decision.effects.append(move)
    if target.back_off != before.back_off:
        decision.effects.append(BackOff(state.number, uuid, target.back_off, move.reason, decision.dry))
    if decision.dry:
        return state._replace(level=level, changed=decision.now, mismatches=0)
    rate = power_saved(state, level, decision.reading.power_watts) / tuning.HEAT_CAPACITY
    return state._replace(
        level=level,
        changed=decision.now,
        trend=state.trend.turned(-rate, _UNSURE * rate),
        mismatches=0,
        applied=target,
        touched=state.touched or bool(todo),
        clocks_touched=locks,
    )


def _verified(state: GpuState, decision: Decision) -> GpuState:
    """Return ``state`` after the reading was compared with the setting: it holds, or is lost, or not ours."""
    wanted, found = state.step.power_watts, decision.reading.power_limit_set_watts
    if state.applied is None or decision.now <= state.changed or (wanted is not None and found is None):
        return state
    if wanted is None or found is None or abs(found - wanted) <= tuning.TOLERANCE_WATTS:
        if state.level == 0:
            return _restored(state, decision)
        return state._replace(mismatches=0) if state.mismatches else state
    if decision.now - state.changed < tuning.SETTLE or state.mismatches + 1 < _MISMATCHES:
        return state._replace(mismatches=state.mismatches + 1)
    limits = (step.power_watts for step in state.ladder)
    if any(limit is not None and abs(found - limit) <= tuning.TOLERANCE_WATTS for limit in limits):
        return state._replace(applied=None, mismatches=0)  # ours came late, or was lost: set it again
    return _yielded(state, wanted, found, decision)


def _yielded(state: GpuState, wanted: float, found: float, decision: Decision) -> GpuState:
    why = f"its power limit is {found:g} W where {wanted:g} W was set: somebody else set it"
    reason = f"GPU {state.number} ({state.name}): {why}"
    decision.effects.append(Yielded(state.number, decision.reading.uuid, reason, found))
    if state.step.back_off:
        decision.effects.append(
            BackOff(state.number, decision.reading.uuid, requested=False, reason=reason, dry_run=False)
        )
    # Their limit is the baseline from now on; clocks that we locked stay ours to unlock.
    return state._replace(
        ladder=(Step(found),), level=0, applied=None, mismatches=0, facts=Facts().learn(decision.reading)
    )


def _restored(state: GpuState, decision: Decision) -> GpuState:
    """Return ``state`` as one that was never touched."""
    watts = state.step.power_watts
    decision.effects.append(Restored(state.number, decision.reading.uuid, state.name, watts))
    return state._replace(
        facts=Facts().learn(decision.reading),
        ladder=(),
        applied=Step(),
        touched=False,
        clocks_touched=False,
        mismatches=0,
    )
