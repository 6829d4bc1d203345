"""Records of the detection of regressions, as the state file holds them (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.components.bench.regression.circumstances import (
    NONE,
    Change,
    Circumstances,
    Moment,
    applied,
    bounded,
    changes,
    difference,
)
from aiidpd.components.bench.regression.state import MOST_RECENT, FigureState, after, rebaselined

FILE: Final = "bench-baselines.json"
LIMIT: Final = 4 << 20
"""Bytes of the file at most; a track takes 50 kB while its baselines are learned, and 15 kB later."""
MOST_TRACKS: Final = 32
FIGURES: Final[Mapping[str, int]] = MappingProxyType({"output_tokens_per_second": 1, "ttft_seconds": -1})
"""Figures that are watched; 1 where more is better.

The time per output token is 1 divided by the first, and needs no detector of its own.
"""
_EXPLAINED: Final = 24 * 3600.0
"""Seconds after an alarm by which what changed is compared anew."""


@dataclass(frozen=True, slots=True)
class Track:
    """Figures of an endpoint with one model on one kind of GPU, over time.

    ``gpu`` is empty as long as it is not known. ``start`` are the circumstances before the first of
    ``moments``. ``changed`` is what changed with the shift of each figure that has shifted.
    """

    endpoint: str
    model: str
    gpu: str = ""
    seen_at: float = 0.0
    figures: Mapping[str, FigureState] = field(default_factory=lambda: MappingProxyType({}))
    start: Circumstances = field(default_factory=lambda: NONE)
    moments: tuple[Moment, ...] = ()
    changed: Mapping[str, tuple[Change, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def circumstances(self) -> Circumstances:
        """Circumstances of the newest probe."""
        known = self.start
        for each in self.moments:
            known = applied(known, each.changed)
        return known


@dataclass(frozen=True, slots=True)
class BenchRecords:
    """Every track that is known."""

    version: Literal[1] = 1
    tracks: tuple[Track, ...] = ()

    def track(self, endpoint: str, model: str) -> Track | None:
        """Return the track of ``endpoint`` and ``model`` that was probed last; None where there is none."""
        found = [each for each in self.tracks if (each.endpoint, each.model) == (endpoint, model)]
        return max(found, key=lambda each: each.seen_at, default=None)

    def put(self, track: Track) -> BenchRecords:
        """Return the records with ``track`` in the place of the one with its key.

        Where there are too many, those that were not probed for the longest time are forgotten.
        """
        others = [each for each in self.tracks if _key(each) != _key(track)]
        others.sort(key=lambda each: -each.seen_at)
        return replace(self, tracks=(track, *others[: MOST_TRACKS - 1]))


def _key(track: Track) -> tuple[str, str, str]:
    return track.endpoint, track.model, track.gpu


def track_for(records: BenchRecords, endpoint: str, model: str, gpu: str) -> Track:
    """Return the track that a probe belongs to.

    A GPU that is not known now is the one of the last probe, and a track whose GPU was never known has this
    one. Another model or GPU is another track, with a baseline of its own. All else is a circumstance: a new
    version of the engine is compared with the old one's baseline.
    """
    last = records.track(endpoint, model)
    if last is not None and gpu in ("", last.gpu):
        return last
    for each in records.tracks:
        if _key(each) == (endpoint, model, gpu):
            return each
    if last is not None and not last.gpu:
        return replace(last, gpu=gpu)
    return Track(endpoint, model, gpu)


def probed(track: Track, at: float, figures: Mapping[str, float], circumstances: Circumstances) -> Track:
    """Return ``track`` after a good probe; of its ``figures`` those count that are watched."""
    states = {name: track.figures.get(name, FigureState(sign)) for name, sign in FIGURES.items()}
    states |= {name: after(states[name], at, value) for name, value in figures.items() if name in FIGURES}
    changed = difference(track.circumstances, bounded(circumstances))
    start, moments = track.start, (*track.moments, Moment(at, MappingProxyType(changed)))
    while len(moments) > MOST_RECENT:
        start, moments = applied(start, moments[0].changed), moments[1:]
    track = replace(track, seen_at=at, figures=states, start=start, moments=moments)
    return replace(track, changed={**_explanations(track, at)})


def _explanations(track: Track, at: float) -> Mapping[str, tuple[Change, ...]]:
    found = {}
    for name, state in track.figures.items():
        if state.shift is None or state.found_at is None:
            continue
        known = track.changed.get(name)
        if known is not None and at - state.found_at > _EXPLAINED:
            found[name] = known
        else:
            found[name] = changes(track.start, track.moments, state.shift.onset)
    return found


def with_new_baseline(track: Track, figures: frozenset[str]) -> Track:
    """Return ``track`` whose ``figures`` learn their baselines anew."""
    states = {name: rebaselined(state) if name in figures else state for name, state in track.figures.items()}
    changed = {name: each for name, each in track.changed.items() if name not in figures}
    return replace(track, figures=states, changed=changed)
