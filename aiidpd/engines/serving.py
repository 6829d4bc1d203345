"""Conversation with an engine that listens once its model is loaded: its figures say it all (pure)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineReading, Names, NotKnown, Samples, figures_of
from aiidpd.engines.profile import Facts, Kind, Memory, PageRequest, Poll, Reply, Start

MODELS: Final = "/v1/models"
_AGAIN: Final = 600.0  # seconds until a page of figures that was not there is requested again


def poll_serving(
    engine: str,
    names: Names,
    facts: Facts,
    memory: Memory,
    now: float,
    *,
    figures: str = "/metrics",
    sleeps: bool = False,
    hint: str = "",
) -> Poll:
    """Request the page ``figures``, and where there is none, whether anything is served.

    ``sleeps``: how it was started lets its model be put to sleep. ``hint`` is how such a page is had.
    """
    no_figures = memory.no_figures if now - memory.no_figures_at < _AGAIN else None
    if no_figures is None:
        reply = yield PageRequest(figures, Kind.SAMPLES)
        if reply.good:
            if reply.samples is not None and reply.samples.has_any(names):
                return _found(engine, names, reply.samples, facts, memory, sleeps=sleeps)
            no_figures = NotKnown(f"its page {figures} has no figures of {engine}{hint}", lasting=True)
        elif not reply.absent:
            reading = EngineReading(reply.not_known(), engine, busy=reply.busy)
            return _bounded(reading, facts, memory, sleeps=sleeps), memory
        else:
            no_figures = NotKnown(f"{reply.reason}{hint}", lasting=True)
        memory = replace(memory, no_figures=no_figures, no_figures_at=now)
    reply = yield PageRequest(MODELS)
    residency = Residency.LOADED if reply.good else Residency.UNKNOWN
    known = no_figures if reply.good else reply.not_known()
    return _bounded(EngineReading(known, engine, residency), facts, memory, sleeps=sleeps), memory


def _found(
    engine: str, names: Names, samples: Samples, facts: Facts, memory: Memory, *, sleeps: bool
) -> tuple[EngineReading, Memory]:
    asleep = samples.total(names.awake) == 0
    memory = replace(memory, no_figures=None, slept=memory.slept or asleep)
    residency = Residency.SLEEPING if asleep else Residency.LOADED
    reading = EngineReading(figures_of(engine, names, samples), engine, residency)
    return _bounded(reading, facts, memory, sleeps=sleeps), memory


def _bounded(reading: EngineReading, facts: Facts, memory: Memory, *, sleeps: bool) -> EngineReading:
    return replace(reading, may_sleep=may_sleep(facts, memory, inferred=sleeps))


def may_sleep(facts: Facts, memory: Memory, *, inferred: bool) -> bool:
    """Return whether its model may be asleep by the next request.

    One that was seen asleep may; else the configuration counts, and without it what is ``inferred``.
    """
    return memory.slept or (inferred if facts.may_sleep is None else facts.may_sleep)


def started(facts: Facts) -> Start:
    """Return how the engine was started, an empty one where that is not known."""
    return facts.start or Start()


def loading(reply: Reply) -> NotKnown:
    """Return the reason of an engine that answers that it is loading."""
    return NotKnown(f"its model is being loaded ({reply.reason})", lasting=False)
