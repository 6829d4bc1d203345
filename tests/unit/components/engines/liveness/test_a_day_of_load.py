"""A day of an engine's load, made up: nothing that works is ever hung, and each hang is found in time."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from aiidpd.components.engines.liveness.decide import begin, step
from aiidpd.components.engines.liveness.history import EngineHistory
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.engines import Verdict
from tests.forms import LONG, short_and_long
from tests.unit.components.engines.liveness.world import DAY, Segment, World, day

SETTINGS = LivenessSettings()
PROMISED = 30.0


FINE = 10
"""Of so many days one is watched each 2 s, the others each 6 s: what is missed between is no progress."""


def made_up(seed: int, seconds: float, *, hang: float | None = None, kind: str = "idle") -> World:
    source = random.Random(seed)
    may_sleep = source.random() < 0.2
    return World(
        source,
        day(source, seconds, may_sleep=may_sleep),
        gpu=source.random() < 0.7,
        may_sleep=may_sleep and hang is None,
        hang=hang,
        hang_kind=kind,
        gpu_known=hang is not None or source.random() < 0.9,
        idle_cpu=source.choice((0.0, 0.002, 0.01, 0.08)),
        interval=source.choice((1.0, 5.0, 5.0, 30.0 if hang is None else 5.0)),
    )


@pytest.mark.parametrize(
    ("seeds", "hours"),
    [
        pytest.param(range(4), 3, id="short"),
        *(
            pytest.param(range(first, first + 25), 24, id=f"long from {first}", marks=LONG)
            for first in range(0, 100, 25)
        ),
    ],
)
def test_what_works_is_never_hung(seeds: range, hours: float) -> None:
    seen: set[Verdict] = set()
    for seed in seeds:
        world = made_up(seed, hours * 3600)
        observation = world.tick()
        assert observation is not None
        state = begin(EngineHistory(), observation)
        while observation is not None:
            state, outcome = step(state, observation, SETTINGS)
            seen.add(outcome.decision.verdict)
            assert outcome.decision.verdict is not Verdict.HUNG, (seed, world.now, outcome.decision.reason)
            observation = world.tick(2.0 if seed % FINE == 0 else 6.0)
    assert {Verdict.LOADING, Verdict.IDLE, Verdict.WORKING, Verdict.SATURATED, Verdict.PAUSED} <= seen


def hang_of(seed: int, kind: str) -> tuple[World, float | None, set[Verdict]]:
    """Return the world of a hang, after how many seconds it was found, and the verdicts since it began."""
    source = random.Random(seed + 1_000_000)
    world = made_up(seed, DAY, hang=source.uniform(700, 2 * 3600), kind=kind)
    observation = world.tick()
    assert observation is not None
    state = begin(EngineHistory(), observation)
    verdicts: set[Verdict] = set()
    began = 0.0
    while observation is not None:
        state, outcome = step(state, observation, SETTINGS)
        if world.hanging:
            began = began or world.now
            verdicts.add(outcome.decision.verdict)
            lasted = world.now - began
            known = lasted > 900 and Verdict.STALLED in verdicts
            if outcome.decision.verdict is Verdict.HUNG or known or lasted > 3700:  # an hour is remarkable
                found = world.now - began if outcome.decision.verdict is Verdict.HUNG else None
                return world, found, verdicts
        else:
            assert outcome.decision.verdict is not Verdict.HUNG, (seed, world.now, outcome.decision.reason)
        observation = world.tick()
    return world, None, verdicts


@pytest.mark.parametrize("kind", ["idle", "page"])
@short_and_long("seeds", 8, 100)
def test_a_hang_with_idle_witnesses_is_found_in_time(seeds: int, kind: str) -> None:
    took = []
    for seed in range(seeds):
        world, found, _ = hang_of(seed, kind)
        assert world.hanging, seed
        assert found is not None, (seed, world.hung_on)
        took.append(found)
    took.sort()
    print(f"{kind}: {seeds} hangs, median {took[len(took) // 2]:.1f} s, longest {took[-1]:.1f} s")  # noqa: T201
    assert took[-1] <= PROMISED


@short_and_long("seeds", 5, 60)
def test_a_hang_with_busy_witnesses_is_stalled_and_never_hung(seeds: int) -> None:
    for seed in range(seeds):
        world, found, verdicts = hang_of(seed, "busy")
        assert found is None, (seed, world.hung_on)
        assert Verdict.STALLED in verdicts, (seed, world.hung_on)


def test_thirty_minutes_of_prefill_and_twenty_of_generation_are_work() -> None:
    def long() -> Iterator[Segment]:
        yield Segment("load", 60)
        yield Segment("idle", 12)
        yield Segment("prefill", 1800, 0.0, 1, blocked=True)
        yield Segment("decode", 1200, 0.3, 1)
        yield Segment("idle", 60)

    for gpu in (True, False):
        world = World(random.Random(1), long(), gpu=gpu)
        observation = world.tick()
        assert observation is not None
        state = begin(EngineHistory(), observation)
        verdicts = []
        while observation is not None:
            state, outcome = step(state, observation, SETTINGS)
            if outcome.changed:
                verdicts.append(outcome.decision.verdict)
            observation = world.tick()
        assert Verdict.HUNG not in verdicts
        assert Verdict.STALLED in verdicts  # the first of its kind is remarkable
        assert verdicts[-1] is Verdict.IDLE
