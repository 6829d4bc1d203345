"""Permission to probe by schedule: never where that disturbs users, or wakes or loads a model (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from aiidpd.components.bench.alone.decide import others, others_words
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.contracts.engines import EngineState, EnginesView, Residency

FIRST_ANSWER: Final = 30.0
"""Seconds for which the first answer of an engine is waited for, before its probe is left out."""
AGAIN: Final = 60.0
"""Seconds after which an endpoint whose probe was left out has its turn again, if not before."""
BUSY_AGAIN: Final = 5.0
"""Seconds after which an endpoint whose engine served others has its turn again."""
NOT_POLLED: Final = "engines are not polled, so that it is not known whether a probe would wake its model"
NO_ANSWER: Final = "its engine has not answered yet whether its model is loaded"
MAY_SLEEP: Final = "its model may go to sleep or be unloaded, and a probe would keep it awake or load it"
REMEDY: Final = "`aiidpctl bench run` measures it all the same, and so does bench.wake = true"
_WHY: Final[Mapping[Residency, str]] = MappingProxyType(
    {
        Residency.LOADING: "its model is being loaded",
        Residency.SLEEPING: "its model is asleep",
        Residency.UNLOADED: "its model is not loaded",
    }
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Permission for the probe."""


@dataclass(frozen=True, slots=True)
class Later:
    """It is not known yet; it will be soon."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Refusal of the probe for ``seconds``, because ``reason``."""

    reason: str
    seconds: float = AGAIN


def busy(reason: str) -> LeftOut:
    """Return the refusal for an engine that serves others, as ``reason`` says."""
    return LeftOut(f"{reason}: it is measured once it is idle", BUSY_AGAIN)


def permission(
    engine: EngineState | None, view: EnginesView | None, waited: float, settings: BenchSettings
) -> Allowed | Later | LeftOut:
    """Return whether an endpoint with that engine may be probed, ``waited`` seconds after its turn.

    ``view`` is None where no engine is polled.
    """
    if count := others(engine):
        return busy(others_words(count))
    if settings.wake or (engine is not None and engine.simulated):
        return Allowed()
    if engine is None or engine.read is None:
        return _unknown(engine, view, waited)
    if engine.residency in _WHY:
        return LeftOut(_WHY[engine.residency])
    return LeftOut(MAY_SLEEP) if engine.may_sleep else Allowed()


def _unknown(engine: EngineState | None, view: EnginesView | None, waited: float) -> Later | LeftOut:
    if engine is not None and engine.lasting:
        return LeftOut(engine.reason)
    if waited < FIRST_ANSWER:
        return Later()
    return LeftOut(NOT_POLLED if view is None else NO_ANSWER)
