"""Levels: decides when and how far a GPU goes down its ladder, and up again (pure)."""

from __future__ import annotations

from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.governor.ladder import Step
from aiidpd.components.thermal.governor.state import GpuState
from aiidpd.components.thermal.governor.trend import TrendForecast
from aiidpd.components.thermal.settings import GovernorSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu

_DEGREES_PER_STEP = 1.0  # of a card whose power is not known
_ROOM = 25.0  # Celsius: of the room, near enough to estimate the effect of some watts
_HALFWAY = 0.5  # of the way up to where a GPU would settle too close to the target
_IDLE_STRIDE = 0.05  # of the power at the baseline: how much comes back at once where there is no hurry


def must_fall(state: GpuState, forecast: TrendForecast, now: float, *, throttled: bool) -> bool:
    """Return whether the GPU must draw less from now on.

    Far below the target only a certain forecast counts; close to it a likely one: there is no time for more,
    and a step too many costs less than one too late.
    """
    reached = forecast.now >= 0
    if now - state.changed < (tuning.URGENT_DWELL if throttled or reached else tuning.DWELL):
        return False
    if throttled or (reached and forecast.later >= 0):
        return True
    near = forecast.now > -tuning.HYSTERESIS
    confidence = tuning.NEAR_CONFIDENCE if near else tuning.CONFIDENCE
    return forecast.rate > 0 and forecast.later - confidence * forecast.error >= 0


def level_below(state: GpuState, forecast: TrendForecast, drawn: float | None) -> int:
    """Return the level to go down to, at least one below where that is possible.

    A body of HEAT_CAPACITY that shall lie lower by so many degrees at the end of the horizon
    must be given so many watts less: the level is the first that takes them off what is ``drawn`` now.
    The request to others to back off is a step of its own.
    """
    ladder, level = state.ladder, state.level
    last = len(ladder) - 1
    if level >= last - 1:
        return last
    excess = max(forecast.later - forecast.error, forecast.now, 0.0)
    here = _power(ladder[level], state)
    if here is None:
        return min(level + max(1, round(excess / _DEGREES_PER_STEP)), level + tuning.MOST_STEPS, last - 1)
    drawn = here if drawn is None else drawn
    scale = max(1.0, drawn / here)  # a locked clock may leave more than the cube of it
    wanted = drawn - tuning.HEAT_CAPACITY * excess / tuning.HORIZON
    for below in range(level + 1, min(level + tuning.MOST_STEPS, last - 1)):
        power = _power(ladder[below], state)
        if power is not None and power * scale <= wanted:
            return below
    return min(level + tuning.MOST_STEPS, last - 1)


def power_saved(state: GpuState, level: int, drawn: float | None) -> float:
    """Return how many watts less than now the card draws at ``level``; negative is more."""
    here, there = _power(state.step, state), _power(state.ladder[level], state)
    if here is None or there is None:
        return 0.0
    if level < state.level or drawn is None:
        return here - there
    return max(0.0, drawn - there * max(1.0, drawn / here))


def may_rise(state: GpuState, forecast: TrendForecast, now: float, settings: GovernorSettings) -> bool:
    """Return whether the GPU may go up one level."""
    if state.level == 0:
        return False
    wait = min(tuning.RECOVERY_CAP, settings.recovery * 2.0 ** min(state.relapses, 32))
    if now - state.warm_at >= tuning.WINDOW:
        wait = settings.recovery
    # The window may reach back before the last step, but what was hot then is no longer a reason to wait.
    near = state.near_at > state.changed and now - state.near_at < tuning.WINDOW
    return now - state.changed >= wait and not near and forecast.later < -tuning.HYSTERESIS


def level_above(state: GpuState, forecast: TrendForecast, gpu: CheckedGpu) -> int:
    """Return the level to go up to, at least one above.

    The GPU has settled, so its heat over its power is its thermal resistance, and that says how many watts
    more would bring it to within the hysteresis: half of them are given back.
    """
    above, drawn, celsius = state.level - 1, gpu.reading.power_watts, gpu.temperature
    here, baseline = _power(state.step, state), _power(state.ladder[0], state)
    if here is None or baseline is None or not drawn or celsius is None:
        return above
    resistance = max(1.0, celsius - _ROOM) / drawn
    more = _HALFWAY * max(0.0, -forecast.now - tuning.HYSTERESIS) / resistance
    if forecast.now < -tuning.IDLE:
        more = max(more, _IDLE_STRIDE * baseline)
    scale = max(1.0, drawn / here)
    while above > 0:
        power = _power(state.ladder[above - 1], state)
        if power is None or (power - here) * scale > more:
            break
        above -= 1
    return above


def _power(step: Step, state: GpuState) -> float | None:
    """Return about how many watts a card draws at most with ``step``; None where that is not known."""
    watts = state.facts.limit if step.power_watts is None else step.power_watts
    if watts is None or step.clock_hertz is None or not state.facts.top_clock:
        return watts or None
    return watts * min(1.0, step.clock_hertz / state.facts.top_clock) ** 3
