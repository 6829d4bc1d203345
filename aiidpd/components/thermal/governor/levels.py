"""How far down the ladder a GPU must go, and when it may come up again (pure)."""

from __future__ import annotations

from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.governor.ladder import Step
from aiidpd.components.thermal.governor.state import GpuState
from aiidpd.components.thermal.governor.trend import TrendForecast
from aiidpd.components.thermal.settings import GovernorSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu

_DEGREES_PER_RUNG = 1.0  # of a card whose power nobody knows
_ROOM = 25.0  # Celsius: what the card's heat goes to, near enough to say what some watts more will do
_HALFWAY = 0.5  # of the way up to where a GPU would settle too close to the target
_IDLE_STRIDE = 0.05  # of the power at the baseline: how much comes back at once where there is no hurry


def must_fall(held: GpuState, forecast: TrendForecast, now: float, *, throttled: bool) -> bool:
    """Return whether the GPU must burn less from now on.

    Far below the target only what is sure counts; close to it what is likely: there is no time for more,
    and a step too many costs less than one too late.
    """
    reached = forecast.now >= 0
    if now - held.changed < (tuning.URGENT_DWELL if throttled or reached else tuning.DWELL):
        return False
    if throttled or (reached and forecast.later >= 0):
        return True
    near = forecast.now > -tuning.HYSTERESIS
    confidence = tuning.NEAR_CONFIDENCE if near else tuning.CONFIDENCE
    return forecast.rate > 0 and forecast.later - confidence * forecast.error >= 0


def level_below(held: GpuState, forecast: TrendForecast, drawn: float | None) -> int:
    """Return the level to go down to, at least one below where that is possible.

    A body of HEAT_CAPACITY that shall lie lower by so many degrees at the end of the horizon
    must be given so many watts less: the level is the first that takes them off what is ``drawn`` now.
    Others are asked to back off by a step of its own.
    """
    ladder, level = held.ladder, held.level
    last = len(ladder) - 1
    if level >= last - 1:
        return last
    excess = max(forecast.later - forecast.error, forecast.now, 0.0)
    here = _burns(ladder[level], held)
    if here is None:
        return min(level + max(1, round(excess / _DEGREES_PER_RUNG)), level + tuning.MOST_STEPS, last - 1)
    drawn = here if drawn is None else drawn
    scale = max(1.0, drawn / here)  # a locked clock may leave more than the cube of it
    wanted = drawn - tuning.HEAT_CAPACITY * excess / tuning.HORIZON
    for below in range(level + 1, min(level + tuning.MOST_STEPS, last - 1)):
        burns = _burns(ladder[below], held)
        if burns is not None and burns * scale <= wanted:
            return below
    return min(level + tuning.MOST_STEPS, last - 1)


def burnt_less(held: GpuState, level: int, drawn: float | None) -> float:
    """Return how many watts less than now the card burns at ``level``; negative is more."""
    here, there = _burns(held.rung, held), _burns(held.ladder[level], held)
    if here is None or there is None:
        return 0.0
    if level < held.level or drawn is None:
        return here - there
    return max(0.0, drawn - there * max(1.0, drawn / here))


def may_rise(held: GpuState, forecast: TrendForecast, now: float, settings: GovernorSettings) -> bool:
    """Return whether the GPU may have one rung back."""
    if held.level == 0:
        return False
    wait = min(tuning.RECOVERY_CAP, settings.recovery * 2.0 ** min(held.lapses, 32))
    if now - held.warm_at >= tuning.WINDOW:
        wait = settings.recovery
    # The window may reach back before the last step, but what was hot then is no longer a reason to wait.
    near = held.near_at > held.changed and now - held.near_at < tuning.WINDOW
    return now - held.changed >= wait and not near and forecast.later < -tuning.HYSTERESIS


def level_above(held: GpuState, forecast: TrendForecast, gpu: CheckedGpu) -> int:
    """Return the level to go up to, at least one above.

    The GPU has settled, so its heat over its power is its thermal resistance, and that says how many watts
    more would bring it to within the hysteresis: half of them are given back.
    """
    above, drawn, celsius = held.level - 1, gpu.reading.power_watts, gpu.temperature
    here, baseline = _burns(held.rung, held), _burns(held.ladder[0], held)
    if here is None or baseline is None or not drawn or celsius is None:
        return above
    resistance = max(1.0, celsius - _ROOM) / drawn
    more = _HALFWAY * max(0.0, -forecast.now - tuning.HYSTERESIS) / resistance
    if forecast.now < -tuning.IDLE:
        more = max(more, _IDLE_STRIDE * baseline)
    scale = max(1.0, drawn / here)
    while above > 0:
        burns = _burns(held.ladder[above - 1], held)
        if burns is None or (burns - here) * scale > more:
            break
        above -= 1
    return above


def _burns(rung: Step, held: GpuState) -> float | None:
    """Return about how many watts a card burns at most on ``rung``; None where nobody can tell."""
    watts = held.facts.limit if rung.power_watts is None else rung.power_watts
    if watts is None or rung.clock_hertz is None or not held.facts.top_clock:
        return watts or None
    return watts * min(1.0, rung.clock_hertz / held.facts.top_clock) ** 3
