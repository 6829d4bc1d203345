"""Baselines: the usual thermal resistance of a GPU, learnt in its first day under load (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from aiidpd.components.thermal.forecast.resistance import Baseline, Operation, expect

_BANDS = 20  # of fan speed: 5 % each
_ROUNDING = 1e-9  # 0.15 * 20 is a little less than 3
_ODD = 1.2  # times what is expected: not learnt, even of a card in its first day
_BETTER = 0.95  # of what is expected: the card was cleaned; nearer is within the error
_COOLING = "cooling"
_COOLING_BANDS = 5  # of fan speed: a card is soon through them
_COOLS = 0.001  # degrees a second: less is noise
_MOST: Final = 1e12  # of anything that is measured


@dataclass(frozen=True, slots=True)
class LearningPolicy:
    """Times, in seconds, that a baseline is learnt in and then follows in.

    A band of fan speed counts once it was learnt for ``learn`` seconds of settled time, and goes on to learn
    until ``learnt``. In the first ``young`` seconds of all that each band learns its own; bands that are
    first used later begin with what is expected by the others. Its cooling counts in bands in which it
    cooled for ``cooled`` seconds. Then the baseline follows a rising
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
"""Baselines of one GPU, by the names of their bands of fan speed."""

Figures: TypeAlias = tuple[float, float, float, float, float, float, float]
"""A baseline in the state file: an operation, field by field, and its seconds."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """State file of baselines: those of all GPUs, by UUID and band."""

    version: Literal[2]
    gpus: Mapping[str, Mapping[str, Figures]]

    def validate(self) -> None:
        """Raise ValueError where no card can have such a baseline."""
        for bands in self.gpus.values():
            for figures in bands.values():
                rise, power, fan, reference_power, reference_fan, _, seconds = figures
                low = min(power, fan, reference_power, reference_fan, seconds)
                if low < 0 or rise <= 0 or not all(abs(each) < _MOST for each in figures):
                    raise ValueError(f"{figures} are no baseline")


def to_baselines(gpus: Mapping[str, Bands]) -> Baselines:
    """Return the baselines of ``gpus``, by UUID, as the state file has them."""
    return Baselines(
        2,
        {
            uuid: {name: (*_figures(band.usual), band.seconds) for name, band in bands.items()}
            for uuid, bands in gpus.items()
            if bands
        },
    )


def from_baselines(baselines: Baselines) -> Mapping[str, Bands]:
    """Return the bands of each GPU in ``baselines``, by UUID."""
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


def band_name(source: str, fan: float) -> str:
    """Return the name of the band of the fan speed ``fan`` for references from ``source``."""
    return f"{source}/{int(fan * _BANDS + _ROUNDING):02d}"


def learnt(bands: Bands, source: str, policy: LearningPolicy) -> tuple[Baseline, ...]:
    """Return those baselines for references from ``source`` that were learnt for long enough to count."""
    prefix = f"{source}/"
    return tuple(
        base for name, base in bands.items() if base.seconds >= policy.learn and name.startswith(prefix)
    )


def learn(
    bands: Bands, source: str, operation: Operation, elapsed: float, policy: LearningPolicy
) -> tuple[Bands, float | None]:
    """Return the baselines after ``elapsed`` seconds in ``operation``, and the rise that was expected."""
    expected = expect(learnt(bands, source, policy), operation, cooling_bands(bands, policy))
    if not elapsed:
        return bands, expected
    ratio = 1.0 if expected is None else operation.rise / expected
    name = band_name(source, operation.fan)
    own = bands.get(name)
    if expected is None or (
        is_young(bands, policy) and ratio < _ODD and (own is None or own.seconds < policy.learnt)
    ):
        return MappingProxyType({**bands, name: _with(own, operation, elapsed)}), expected
    if _BETTER <= ratio < 1:
        return bands, expected
    share = min(1.0, elapsed / (policy.rises if ratio > 1 else policy.falls))
    return _moved(bands, source, 1 + (ratio - 1) * share), expected


def learn_cooling(bands: Bands, operation: Operation, elapsed: float, policy: LearningPolicy) -> Bands:
    """Return the baselines after the card cooled for ``elapsed`` seconds as ``operation``."""
    name = f"{_COOLING}/{int(operation.fan * _COOLING_BANDS):02d}"
    own = bands.get(name)
    if not is_young(bands, policy) or (own is not None and own.seconds >= policy.learnt):
        return bands
    return MappingProxyType({**bands, name: _with(own, operation, elapsed)})


def cooling_bands(bands: Bands, policy: LearningPolicy) -> tuple[Baseline, ...]:
    """Return the bands of fan speed in which the card was seen to cool for long enough."""
    return tuple(
        base
        for name, base in bands.items()
        if name.startswith(f"{_COOLING}/") and base.seconds >= policy.cooled and base.usual.rate >= _COOLS
    )


def is_young(bands: Bands, policy: LearningPolicy) -> bool:
    """Return whether the card is still in its first day of settled time."""
    settled = (base.seconds for name, base in bands.items() if not name.startswith(f"{_COOLING}/"))
    return sum(settled) < policy.young


def _with(own: Baseline | None, operation: Operation, elapsed: float) -> Baseline:
    """Return the mean of what ``own`` learnt and ``operation``."""
    if own is None:
        return Baseline(operation, elapsed)
    share, before = elapsed / (own.seconds + elapsed), own.usual
    usual = Operation(
        before.rise + (operation.rise - before.rise) * share,
        before.power + (operation.power - before.power) * share,
        before.fan + (operation.fan - before.fan) * share,
        before.reference_power + (operation.reference_power - before.reference_power) * share,
        before.reference_fan + (operation.reference_fan - before.reference_fan) * share,
        before.rate + (operation.rate - before.rate) * share,
    )
    return Baseline(usual, own.seconds + elapsed)


def _moved(bands: Bands, source: str, factor: float) -> Bands:
    """Return ``bands`` with the rises for references from ``source`` multiplied by ``factor``."""
    moved = {}
    for name, base in bands.items():
        usual = base.usual
        if name.startswith(f"{source}/"):
            usual = replace(usual, rise=usual.rise * factor)
        moved[name] = Baseline(usual, base.seconds)
    return MappingProxyType(moved)
