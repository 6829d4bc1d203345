"""When a GPU is given less to burn, and when it gets it back (pure).

A GPU stands on a level of its :mod:`.ladder`: 0 is the baseline, as it was found. It goes down the ladder
when its temperature will reach the target within the horizon, before the driver throttles; and up again
one rung at a time when it has been cool for a while, each time later where the last try made it hot again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aiidpd.workers.thermal.commands import Command, SetPowerLimit
from aiidpd.workers.thermal.faults import GpuFault
from aiidpd.workers.thermal.governor.governing import (
    BackOff,
    Blind,
    Effect,
    GovernorPolicy,
    GovernorState,
    Held,
    Mode,
    Move,
    Refused,
    Settled,
    Yielded,
)
from aiidpd.workers.thermal.governor.ladder import Facts, Ladder, Lever, Rung, build, commands
from aiidpd.workers.thermal.governor.trend import Forecast
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot, Limit, degrees_left

THROTTLING = frozenset({"hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown"})
"""The clock events that say that the driver lowers the clocks because of heat (or might)."""

NO_PERMISSION = "NO_PERMISSION"
NO_LEASE = "NO_LEASE"
"""Our own name for a fault: the baseline could not be written down, so nothing was set."""

ABSENT = frozenset({"NOT_SUPPORTED", "FUNCTION_NOT_FOUND", "INVALID_ARGUMENT", "DEPRECATED"})
"""What NVML says of a setting that the card does not have."""

_REFUSALS = ABSENT | {
    NO_PERMISSION,
    NO_LEASE,
    "NOT_FOUND",
}  # answers after which nothing has changed for certain
_CLOSEST = 1.0  # degrees below the card's own limit: an absolute target may not lie above that
_STRANGE = 3  # readings in a row that must agree on a setting that is not the one that was set


@dataclass(slots=True)
class _Turn:
    """One GPU's part of one pass: what is decided about it, and all that the decision needs."""

    reading: GpuReading
    now: float
    policy: GovernorPolicy
    dry: bool
    effects: list[Effect] = field(default_factory=list)
    evidence: Mapping[str, float] = field(default_factory=dict)


def over_target(reading: GpuReading, policy: GovernorPolicy) -> float | None:
    """Return by how many degrees ``reading`` lies above the target; None where either is not known."""
    left = [degrees_left(reading, limit) for limit in (Limit.SLOWDOWN, Limit.GPU_MAX)]
    known = [degrees for degrees in left if degrees is not None]
    if policy.target_celsius is None:
        return policy.margin - min(known) if known else None
    if reading.temperature_celsius is None:
        return None
    own = reading.temperature_celsius - policy.target_celsius
    return max(own, _CLOSEST - min(known)) if known else own


def step(
    state: GovernorState, snapshot: GpuSnapshot, now: float, policy: GovernorPolicy
) -> tuple[GovernorState, tuple[Effect, ...]]:
    """Return the state after ``snapshot``, read at monotonic second ``now``, and what is to be done.

    A GPU that is not in the snapshot stays as it is; turned off, every GPU goes to its baseline. What the
    driver did not take is told by :func:`refused`, before the next step.
    """
    effects: list[Effect] = []
    for reading in snapshot.gpus:
        held = state.gpus.get(reading.uuid, Held(reading.index, reading.name))
        held = replace(held, index=reading.index, name=reading.name)
        turn = _Turn(reading, now, policy, dry=policy.mode is Mode.DRY_RUN or not state.permitted)
        state = state.put(reading.uuid, _step(held, turn))
        effects += turn.effects
    return state, tuple(effects)


def refused(
    state: GovernorState, move: Move, command: Command, fault: GpuFault, *, retry_at: float
) -> tuple[GovernorState, Refused]:
    """Return the state after the driver refused ``command`` of ``move`` with ``fault``.

    Without the right to set anything the governor goes on as a dry run. A lever that the card does not have
    is left out from then on. Anything else (a hang, a lost GPU) leaves open what holds: it is set again at
    ``retry_at``. Commands after the refused one count as not sent.
    """
    held = state.gpus[move.uuid]
    lever = Lever.POWER if isinstance(command, SetPowerLimit) else Lever.CLOCKS
    # What NVML answered is certain; a child that hung or died may have set it all the same.
    untouched = fault.name in _REFUSALS and not move.touched_before and command is move.commands[0]
    absent = fault.name in ABSENT and (untouched or lever is Lever.CLOCKS)
    without = held.without | {lever} if absent else held.without
    # Up: the gentler level is still what is wanted. Down: the GPU stands where it stood.
    held = replace(held, without=without, level=min(move.before, move.after), retry_at=retry_at)
    if untouched:
        held = replace(held, ladder=(), level=0, applied=Rung(), touched=False, clocks_touched=False)
    else:
        ladder = _without_clocks(held.ladder) if absent else held.ladder
        held = replace(held, ladder=ladder, level=min(held.level, len(ladder) - 1), applied=None)
    if absent:
        # The other lever need not wait; and clocks that can't be locked need no unlocking.
        held = replace(held, retry_at=-math.inf, clocks_touched=False)
    denied = fault.name == NO_PERMISSION
    state = replace(state, permitted=state.permitted and not denied)
    return state.put(move.uuid, held), Refused(held.index, move.uuid, lever, fault, absent or denied)


def _without_clocks(ladder: Ladder) -> Ladder:
    rungs = (replace(rung, clock_hertz=None) for rung in ladder)
    return tuple(dict.fromkeys(rungs))


def _step(held: Held, turn: _Turn) -> Held:
    held = _watched(held, turn) if held.touched else replace(held, facts=held.facts.learn(turn.reading))
    if turn.now < held.retry_at:
        return held
    if turn.policy.mode is Mode.OFF:
        return _to(held, 0, "the governor is off", turn)
    over = over_target(turn.reading, turn.policy)
    held = _sighted(held, over, turn)
    return held if over is None else _governed(held, over, turn)


def _governed(held: Held, over: float, turn: _Turn) -> Held:
    reading, now, policy = turn.reading, turn.now, turn.policy
    held = replace(held, trend=held.trend.add(now, over, policy.window))
    forecast = held.trend.forecast(policy.horizon)
    throttling = sorted(THROTTLING & set(reading.clock_events or ()))
    turn.evidence = _evidence(reading, over, forecast)
    rungs = _rungs_down(held, forecast, now, policy, throttled=bool(throttling))
    if rungs:
        held = _laddered(held, policy)
        level = min(held.level + rungs, len(held.ladder) - 1)
        if level > held.level:
            held = _lapsed(held, now, policy)
            return _to(held, level, _why_down(over, forecast, throttling, policy), turn)
    elif _may_rise(held, forecast, now, policy):
        lapses = 0 if held.level == 1 and over < -policy.idle else held.lapses
        held = replace(held, raised=now, lapses=lapses)
        why = f"no reading came within {policy.hysteresis:g} °C of the target for a while"
        return _to(held, held.level - 1, why, turn)
    if held.applied is None and not turn.dry:
        return _to(held, held.level, "its settings may have been lost", turn)
    return held


def _laddered(held: Held, policy: GovernorPolicy) -> Held:
    """Return ``held`` with a ladder; at an untouched baseline it is made anew, from what is known now."""
    if held.level > 0 or held.touched:
        return held
    ladder = build(held.facts, policy.ladder, held.without)
    return replace(held, ladder=ladder, applied=ladder[0])


def _rungs_down(
    held: Held, forecast: Forecast, now: float, policy: GovernorPolicy, *, throttled: bool
) -> int:
    """Return how many rungs further down the GPU must go now."""
    reached = forecast.now >= 0 and forecast.later >= 0
    urgent = throttled or forecast.now >= 0
    if now - held.changed < (policy.urgent_dwell if urgent else policy.dwell):
        return 0
    sure = forecast.later - policy.confidence * forecast.error
    if not (throttled or reached or (forecast.rate > 0 and sure >= 0)):
        return 0
    likely = forecast.later - forecast.error if reached else 0.0
    excess = max(sure, likely, forecast.now)
    return min(policy.most_rungs, max(1, math.ceil(excess / policy.degrees_per_rung)))


def _may_rise(held: Held, forecast: Forecast, now: float, policy: GovernorPolicy) -> bool:
    if held.level == 0:
        return False
    wait = min(policy.recovery_cap, policy.recovery_dwell * 2.0 ** min(held.lapses, 32))
    if held.trend.highest < -policy.idle:
        wait = policy.recovery_dwell
    if now - held.changed < wait:
        return False
    # A window that has just been restarted shows too little to call it cool.
    seen = held.trend.span(now) >= min(policy.window, wait) / 2
    return seen and held.trend.highest < -policy.hysteresis and forecast.later < -policy.hysteresis


def _lapsed(held: Held, now: float, policy: GovernorPolicy) -> Held:
    """Count a relapse: it went up, and that made it hot again."""
    if now - held.raised < policy.relapse:
        return replace(held, lapses=held.lapses + 1, raised=-math.inf)
    return held


def _to(held: Held, level: int, reason: str, turn: _Turn) -> Held:
    """Return ``held`` on ``level``, and add what brings it there to the turn's effects."""
    if not held.ladder or (level == held.level and held.applied == held.rung):
        return held
    rung, before, uuid = held.ladder[level], held.rung, turn.reading.uuid
    locks = held.clocks_touched or rung.clock_hertz is not None
    todo = () if turn.dry else commands(uuid, held.applied, rung, clocks_touched=locks)
    move = Move(
        index=held.index,
        uuid=uuid,
        name=held.name,
        before=held.level,
        after=level,
        rung=rung,
        baseline_watts=held.ladder[0].power_watts,
        touched_before=held.touched,
        clocks_touched=locks,
        commands=todo,
        reason=f"GPU {held.index} ({held.name}): {reason}",
        evidence=turn.evidence,
        dry_run=turn.dry,
    )
    if level != held.level or todo:
        turn.effects.append(move)
    if rung.back_off != before.back_off:
        turn.effects.append(BackOff(held.index, uuid, rung.back_off, move.reason, turn.dry))
    held = replace(held, level=level, changed=turn.now, trend=held.trend.restarted(), strange=0)
    if turn.dry:
        return held
    return replace(held, applied=rung, touched=held.touched or bool(todo), clocks_touched=locks)


def _watched(held: Held, turn: _Turn) -> Held:
    """Compare what the card says with what was set: it holds, it is restored, it is lost, or not ours."""
    asked, found = held.rung.power_watts, turn.reading.power_limit_set_watts
    if held.applied is None or turn.now <= held.changed or (asked is not None and found is None):
        return held
    if asked is None or found is None or abs(found - asked) <= turn.policy.tolerance_watts:
        return _settled(held, turn) if held.level == 0 else replace(held, strange=0)
    if turn.now - held.changed < turn.policy.settle or held.strange + 1 < _STRANGE:
        return replace(held, strange=held.strange + 1)
    limits = (rung.power_watts for rung in held.ladder)
    if any(limit is not None and abs(found - limit) <= turn.policy.tolerance_watts for limit in limits):
        return replace(held, applied=None, strange=0)  # one of ours came late, or was lost: set it again
    why = f"its power limit is {found:g} W where {asked:g} W was set: somebody else set it"
    reason = f"GPU {held.index} ({held.name}): {why}"
    turn.effects.append(Yielded(held.index, turn.reading.uuid, reason, found))
    if held.rung.back_off:
        turn.effects.append(BackOff(held.index, turn.reading.uuid, asked=False, reason=reason, dry_run=False))
    # Their limit is the baseline from now on; clocks that we locked stay ours to unlock.
    return replace(
        held, ladder=(Rung(found),), level=0, applied=None, strange=0, facts=Facts().learn(turn.reading)
    )


def _settled(held: Held, turn: _Turn) -> Held:
    """Return ``held`` as one that was never touched."""
    watts = held.rung.power_watts
    turn.effects.append(Settled(held.index, turn.reading.uuid, held.name, watts))
    return replace(
        held,
        facts=Facts().learn(turn.reading),
        ladder=(),
        applied=Rung(),
        touched=False,
        clocks_touched=False,
        strange=0,
    )


def _sighted(held: Held, over: float | None, turn: _Turn) -> Held:
    """Tell once that a GPU can't be governed, and once that it can again."""
    reading, reason = turn.reading, ""
    if over is None and reading.temperature_celsius is None and reading.temperature_margin_celsius is None:
        reason = "its temperature can't be read"
    elif over is None:
        reason = "the card names no limit of its own: set gpu.governor_target_celsius"
    if reason != held.blind:
        turn.effects.append(Blind(held.index, reading.uuid, reason))
    return replace(held, blind=reason)


def _why_down(over: float, forecast: Forecast, throttling: list[str], policy: GovernorPolicy) -> str:
    if throttling:
        return f"the driver throttles already ({', '.join(throttling)})"
    if forecast.now >= 0:
        return f"it is {max(0.0, over):g} °C above its target and does not fall"
    return (
        f"it is {max(0.0, -over):g} °C below its target and rises by {forecast.rate * 60:.1f} °C a minute: "
        f"it would reach the target within {policy.horizon:g} s"
    )


def _evidence(reading: GpuReading, over: float, forecast: Forecast) -> dict[str, float]:
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
