"""Detection of slower engines: how soon a shift is found, how often there is an alarm for nothing.

Each simulated endpoint is probed every 15 minutes: two weeks in which its baseline is learned, and a month
without any shift, which shows the false alarms. Each day of the month a copy of it becomes 5 % slower, at
once, and is probed until that is found.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiidpd.components.bench.regression.baseline import FULL
from aiidpd.components.bench.regression.state import FigureState, after
from bench.harness import percentile, report

INTERVAL: Final = 900.0
DAY: Final = 96
MONTH: Final = 30 * DAY
NOISE: Final = 0.02
SHIFT: Final = 0.05
PROBES_LIMIT: Final = 6.0
FALSE_ALARMS_LIMIT: Final = 1.0
USUAL: Final = 80.0  # tokens/s
MONTHS: Final = 300
_CORRELATION: Final = 0.3
_DEGREES: Final = 5
_GIVEN_UP: Final = 200

Noise = Callable[[random.Random, float], float]
"""Gives the next value of a noise, whose standard deviation is 1, from a source and the value before."""


def independent(source: random.Random, _before: float) -> float:
    """Return independent normal noise."""
    return source.gauss(0.0, 1.0)


def correlated(source: random.Random, before: float) -> float:
    """Return normal noise of which 0.3 lasts to the next sample (AR(1))."""
    return _CORRELATION * before + math.sqrt(1 - _CORRELATION**2) * source.gauss(0.0, 1.0)


def heavy(source: random.Random, _before: float) -> float:
    """Return noise with heavy tails: Student t with 5 degrees of freedom."""
    square = source.gammavariate(_DEGREES / 2, 2.0)
    return source.gauss(0.0, 1.0) / math.sqrt(square / _DEGREES / (1 - 2 / _DEGREES))


NOISES: Final[dict[str, Noise]] = {"iid": independent, "ar1": correlated, "t5": heavy}


@dataclass
class Endpoint:
    """An endpoint whose speed is ``USUAL`` times a factor, with noise."""

    noise: Noise
    source: random.Random
    scale: float = NOISE
    last: float = 0.0
    at: float = 0.0
    state: FigureState = field(default_factory=lambda: FigureState(sign=1))

    def probe(self, factor: float = 1.0) -> bool:
        """Give the detector one sample; return whether an alarm begins with it."""
        self.at += INTERVAL
        self.last = self.noise(self.source, self.last)
        before = self.state.status
        self.state = after(self.state, self.at, USUAL * factor * math.exp(self.scale * self.last))
        return self.state.status == "regressed" and before != "regressed"

    def found_within(self, seed: object, factor: float = 1 - SHIFT) -> int:
        """Return the probes until it would be found, if it became slower now."""
        copy = Endpoint(
            self.noise, random.Random(f"shift {seed}"), self.scale, self.last, self.at, self.state
        )
        return next((probes for probes in range(1, _GIVEN_UP) if copy.probe(factor)), _GIVEN_UP)


@dataclass
class Outcome:
    """Findings of some months: probes until each shift was found, and alarms for nothing."""

    found: list[int] = field(default_factory=list)
    found_young: list[int] = field(default_factory=list)
    alarms: list[int] = field(default_factory=list)
    alarms_learning: list[int] = field(default_factory=list)


def simulate(name: str, months: int, scale: float = NOISE) -> Outcome:
    """Return the outcome of ``months`` simulated months with the noise ``name``."""
    outcome = Outcome()
    for seed in range(months):
        endpoint = Endpoint(NOISES[name], random.Random(f"{name} {seed}"), scale)
        learning = 0
        for probe in range(FULL):
            learning += endpoint.probe()
            if probe == DAY and endpoint.state.status == "steady":
                outcome.found_young += (endpoint.found_within(f"{name} {seed} {each}") for each in range(10))
        outcome.alarms_learning.append(learning)
        alarms = 0
        for probe in range(MONTH):
            alarms += endpoint.probe()
            if probe % DAY == 0 and endpoint.state.status == "steady":
                outcome.found.append(endpoint.found_within(f"{name} {seed} {probe}"))
        outcome.alarms.append(alarms)
    return outcome


def main() -> None:
    """Simulate as many months as the command line says."""
    months = int(sys.argv[1]) if len(sys.argv) > 1 else MONTHS
    for name in NOISES:
        outcome = simulate(name, months)
        title = f"5 % slower at 2 % noise, {name}"
        found = outcome.found
        report(
            title,
            "probes",
            {
                "found_within_p50": (percentile(found, 0.5), None),
                "found_within_p95": (percentile(found, 0.95), PROBES_LIMIT),
                "found_mean": (statistics.fmean(found), None),
                "baseline_of_a_day_p95": (percentile(outcome.found_young, 0.95), None),
            },
        )
        within = sum(each <= PROBES_LIMIT for each in found) / len(found)
        report(title, "%", {"found_within_6": (100 * within, None)})
        false_alarms = statistics.fmean(outcome.alarms)
        while_learning = statistics.fmean(outcome.alarms_learning) * MONTH / FULL
        report(
            title,
            "a month",
            {"false_alarms": (false_alarms, FALSE_ALARMS_LIMIT), "while_learning": (while_learning, None)},
        )


if __name__ == "__main__":
    main()
