"""When a GPU is given less to burn, and when it gets it back (pure).

A GPU stands on a level of its :mod:`.ladder`: 0 is the baseline, as it was found. It goes down the ladder
when its temperature will reach the target within the horizon, before the driver throttles; and up again
one rung at a time when it has been cool for a while, each time later where the last try made it hot again.
"""

from __future__ import annotations

import math

from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.governor.levels import level_above, level_below, may_rise, must_fall
from aiidpd.components.thermal.governor.state import (
    Blind,
    Effect,
    GovernorState,
    GpuState,
)
from aiidpd.components.thermal.governor.trend import TrendForecast
from aiidpd.components.thermal.governor.turn import Decision, laddered, to, watched
from aiidpd.components.thermal.gpu import GpuReading, Limit
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot, Trust
from aiidpd.kernel.words import apart

THROTTLING = frozenset({"hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown"})
"""The clock events that say that the driver lowers the clocks because of heat (or might)."""

_PATIENCE = 15.0  # seconds: a true jump is believed sooner (thresholds.JUMP_SETTLES)
_CLOSEST = 1.0  # degrees below the card's own limit: an absolute target may not lie above that


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
    """Return the state after ``snapshot``, and what is to be done.

    A GPU that is not in the snapshot stays as it is; turned off, every GPU goes to its baseline. What the
    driver did not take is told by :func:`.refusing.refused`, before the next step.
    """
    effects: list[Effect] = []
    dry = settings.mode is GovernorMode.DRY_RUN or not state.permitted
    gpus = {}
    for gpu in snapshot.gpus:
        reading = gpu.reading
        held = state.gpus.get(reading.uuid) or GpuState(reading.index, reading.name)
        if (held.number, held.name) != (reading.index, reading.name):
            held = held._replace(number=reading.index, name=reading.name)
        gpus[reading.uuid] = _step(held, Decision(gpu, settings, dry, effects))
    return state.having(gpus), tuple(effects)


def _step(held: GpuState, turn: Decision) -> GpuState:
    if held.touched:
        held = watched(held, turn)
    else:
        facts = held.facts.learn(turn.reading)
        held = held if facts is held.facts else held._replace(facts=facts)
    if turn.now < held.retry_at:
        return held
    if turn.settings.mode is GovernorMode.OFF:
        return to(held, 0, "the governor is off", turn)
    over = over_target(turn.gpu, turn.settings)
    held = _sighted(held, over, turn)
    return held if over is None else _governed(held, over, turn)


def _governed(held: GpuState, over: float, turn: Decision) -> GpuState:
    reading, now, settings = turn.reading, turn.now, turn.settings
    held = held._replace(
        trend=held.trend.add(now, over),
        near_at=now if over >= -tuning.HYSTERESIS else held.near_at,
        warm_at=now if over >= -tuning.IDLE else held.warm_at,
    )
    forecast = held.trend.forecast(tuning.HORIZON)
    throttling = THROTTLING.intersection(reading.clock_events) if reading.clock_events else ()
    if must_fall(held, forecast, now, throttled=bool(throttling)):
        held = laddered(held, settings)
        level = level_below(held, forecast, reading.power_watts)
        if level > held.level:
            turn.evidence = _evidence(reading, over, forecast)
            held = _lapsed(held, now)
            return to(held, level, _why_down(over, forecast, sorted(throttling)), turn)
    elif may_rise(held, forecast, now, settings):
        turn.evidence = _evidence(reading, over, forecast)
        lapses = 0 if held.level == 1 and over < -tuning.IDLE else held.lapses
        held = held._replace(raised=now, lapses=lapses)
        why = f"no reading came within {tuning.HYSTERESIS:g} °C of the target for a while"
        return to(held, level_above(held, forecast, turn.gpu), why, turn)
    if held.applied is None and not turn.dry:
        turn.evidence = _evidence(reading, over, forecast)
        return to(held, held.level, "its settings may have been lost", turn)
    return held


def _lapsed(held: GpuState, now: float) -> GpuState:
    """Count a relapse: it went up, and that made it hot again."""
    if now - held.raised < tuning.RELAPSE:
        return held._replace(lapses=held.lapses + 1, raised=-math.inf)
    return held


def _sighted(held: GpuState, over: float | None, turn: Decision) -> GpuState:
    """Tell once that a GPU can't be governed, and once that it can again."""
    reading, reason = turn.reading, ""
    if over is not None:
        held = held._replace(sighted=turn.now)
    elif turn.gpu.distrusted:
        if turn.gpu.trust is not Trust.FROZEN and turn.now - held.sighted < _PATIENCE:
            return held  # a glitch, or a jump that is about to be believed
        reason = f"its temperature is not believed: {turn.gpu.trust.value}"
    elif reading.temperature_celsius is None and reading.temperature_margin_celsius is None:
        reason = "its temperature can't be read"
    else:
        reason = "the card names no limit of its own: set gpu.governor.target_celsius"
    if reason == held.blind:
        return held
    turn.effects.append(Blind(held.number, reading.uuid, reason))
    return held._replace(blind=reason)


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
