"""The usual behaviour of a GPU, learnt while it was new to us (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from aiidpd.components.thermal.forecast.resistance import Baseline, Operation, expect

_BANDS = 20  # of fan speed: 5 % each
_ROUNDING = 1e-9  # 0.15 * 20 is a little less than 3
_ODD = 1.2  # times what is expected: not worth learning even by a card that is new to us
_BETTER = 0.95  # of what is expected: the card was cleaned; nearer is within the error
_COOLING = "cooling"
_COOLING_BANDS = 5  # of fan speed: a card is soon through them
_COOLS = 0.001  # degrees a second: less is noise
_MOST: Final = 1e12  # of anything that is measured


@dataclass(frozen=True, slots=True)
class LearningPolicy:
    """When a baseline is learnt, and how it follows. Times in seconds.

    A band of fan speed counts once it was learnt for ``learn`` seconds of settled time, and goes on to learn
    until ``learnt``. In the first ``young`` seconds of all that each band learns its own; bands that are
    first used later begin with what the others lead one to expect. How it cools counts in bands in which it
    did for ``cooled`` seconds. Then the baseline follows a rising
    resistance with the time constant ``rises``, long compared to how dust gathers, and a falling one with
    ``falls``, since a card that was cleaned is the better reference.
    """

    learn: float = 1800.0
    learnt: float = 4 * 3600.0
    cooled: float = 30.0
    young: float = 86400.0
    rises: float = 3 * 365 * 86400.0
    falls: float = 7 * 86400.0


Bands: TypeAlias = Mapping[str, Baseline]
"""The baselines of one GPU, by the names of their bands of fan speed."""

Figures: TypeAlias = tuple[float, float, float, float, float, float, float]
"""A baseline as it is written down: an operation, field by field, and its seconds."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """The baselines of all GPUs, by UUID and band, as they outlive the daemon."""

    version: Literal[2]
    gpus: Mapping[str, Mapping[str, Figures]]

    def validate(self) -> None:
        """Raise ValueError where no card can have been like this."""
        for bands in self.gpus.values():
            for figures in bands.values():
                rise, power, fan, reference_power, reference_fan, _, seconds = figures
                low = min(power, fan, reference_power, reference_fan, seconds)
                if low < 0 or rise <= 0 or not all(abs(each) < _MOST for each in figures):
                    raise ValueError(f"{figures} are no baseline")


def to_baselines(gpus: Mapping[str, Bands]) -> Baselines:
    """Return ``gpus`` as they are written down."""
    return Baselines(
        2,
        {
            uuid: {name: (*_figures(base.usual), base.seconds) for name, base in bands.items()}
            for uuid, bands in gpus.items()
            if bands
        },
    )


def from_baselines(baselines: Baselines) -> Mapping[str, Bands]:
    """Return the bands of each GPU that ``baselines`` has written down."""
    return {
        uuid: {name: Baseline(Operation(*figures[:-1]), figures[-1]) for name, figures in bands.items()}
        for uuid, bands in baselines.gpus.items()
    }


def _figures(usual: Operation) -> tuple[float, float, float, float, float, float]:
    return (
        usual.rise,
        usual.power,
        usual.fan,
        usual.reference_power,
        usual.reference_fan,
        usual.rate,
    )


def band(source: str, fan: float) -> str:
    """Return the name of the band of the fan speed ``fan`` for references from ``source``."""
    return f"{source}/{int(fan * _BANDS + _ROUNDING):02d}"


def learnt(known: Bands, source: str, policy: LearningPolicy) -> tuple[Baseline, ...]:
    """Return the baselines that count among those for references from ``source``."""
    prefix = f"{source}/"
    return tuple(
        base for name, base in known.items() if base.seconds >= policy.learn and name.startswith(prefix)
    )


def learn(
    known: Bands, source: str, seen: Operation, elapsed: float, policy: LearningPolicy
) -> tuple[Bands, float | None]:
    """Return the baselines after ``elapsed`` seconds in ``seen``, and the rise that was expected before."""
    expected = expect(learnt(known, source, policy), seen, cools(known, policy))
    if not elapsed:
        return known, expected
    ratio = 1.0 if expected is None else seen.rise / expected
    name = band(source, seen.fan)
    own = known.get(name)
    if expected is None or (
        is_young(known, policy) and ratio < _ODD and (own is None or own.seconds < policy.learnt)
    ):
        return MappingProxyType({**known, name: _with(own, seen, elapsed)}), expected
    if _BETTER <= ratio < 1:
        return known, expected
    share = min(1.0, elapsed / (policy.rises if ratio > 1 else policy.falls))
    return _moved(known, source, 1 + (ratio - 1) * share), expected


def learn_cooling(known: Bands, seen: Operation, elapsed: float, policy: LearningPolicy) -> Bands:
    """Return the baselines after the card cooled for ``elapsed`` seconds as ``seen``."""
    name = f"{_COOLING}/{int(seen.fan * _COOLING_BANDS):02d}"
    own = known.get(name)
    if not is_young(known, policy) or (own is not None and own.seconds >= policy.learnt):
        return known
    return MappingProxyType({**known, name: _with(own, seen, elapsed)})


def cools(known: Bands, policy: LearningPolicy) -> tuple[Baseline, ...]:
    """Return how the card cools, by bands of fan speed: those that were seen often enough."""
    return tuple(
        base
        for name, base in known.items()
        if name.startswith(f"{_COOLING}/") and base.seconds >= policy.cooled and base.usual.rate >= _COOLS
    )


def is_young(known: Bands, policy: LearningPolicy) -> bool:
    """Return whether the card is new to us."""
    settled = (base.seconds for name, base in known.items() if not name.startswith(f"{_COOLING}/"))
    return sum(settled) < policy.young


def _with(own: Baseline | None, seen: Operation, elapsed: float) -> Baseline:
    """Return the mean of what ``own`` learnt and ``seen``."""
    if own is None:
        return Baseline(seen, elapsed)
    share, before = elapsed / (own.seconds + elapsed), own.usual
    usual = Operation(
        before.rise + (seen.rise - before.rise) * share,
        before.power + (seen.power - before.power) * share,
        before.fan + (seen.fan - before.fan) * share,
        before.reference_power + (seen.reference_power - before.reference_power) * share,
        before.reference_fan + (seen.reference_fan - before.reference_fan) * share,
        before.rate + (seen.rate - before.rate) * share,
    )
    return Baseline(usual, own.seconds + elapsed)


def _moved(known: Bands, source: str, factor: float) -> Bands:
    """Return ``known`` with all that is usual of ``source`` changed by ``factor``."""
    moved = {}
    for name, base in known.items():
        usual = base.usual
        if name.startswith(f"{source}/"):
            usual = replace(usual, rise=usual.rise * factor)
        moved[name] = Baseline(usual, base.seconds)
    return MappingProxyType(moved)
