"""Storms of lines and lost GPUs, from readings of a log (pure)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiidpd.components.containers.logs.state import (
    CLEAN_READINGS,
    READINGS,
    LogReading,
    LogState,
    LostGpu,
    Storm,
)
from aiidpd.components.containers.settings import LogSettings

_HYSTERESIS: Final = 0.5  # share of the threshold below which a storm may end


def step(state: LogState, reading: LogReading, settings: LogSettings) -> LogState:
    """Return the state of a log after ``reading``."""
    return _gpu(_storm(state, reading, settings.storm_lines_per_second), reading)


def died_without_gpu(state: LogState, run: float, at: float, line: str) -> LogState:
    """Return the state after the run that started at ``run`` ended, and its log said that the GPU is lost."""
    return replace(state, lost=LostGpu(run, at, line), clean=0)


def _storm(state: LogState, reading: LogReading, threshold: float) -> LogState:
    rate = reading.lines_per_second
    above = state.above + 1 if rate >= threshold else 0
    below = state.below + 1 if rate < threshold * _HYSTERESIS else 0
    storm = state.storm
    if above >= READINGS or (storm is not None and above):
        storm = Storm(rate, reading.bytes_per_second, reading.repeated, reading.share)
    elif below >= READINGS:
        storm = None
    return replace(state, above=min(above, READINGS), below=min(below, READINGS), storm=storm)


def _gpu(state: LogState, reading: LogReading) -> LogState:
    """Return the state after what ``reading`` says of the GPU.

    An engine that makes progress has its GPU, whoever else said otherwise in the same log. Silence alone is
    no proof in the run that said so: an engine that hangs for want of a GPU writes nothing either.
    """
    if reading.lost:
        if reading.works:
            return replace(state, lost=None, clean=0)
        lost = state.lost
        at = lost.at if lost is not None and lost.run == reading.run else reading.at
        return replace(state, lost=LostGpu(reading.run, at, reading.lost, reading.works), clean=0)
    if state.lost is None:
        return state
    clean = state.clean + 1 if reading.run > state.lost.run else 0
    if reading.works or clean >= CLEAN_READINGS:
        return replace(state, lost=None, clean=0)
    return replace(state, lost=replace(state.lost, works=reading.works), clean=clean)
