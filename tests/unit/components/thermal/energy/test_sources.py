"""Views that energy attribution reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest

from aiidpd.components.engines.state import with_answer
from aiidpd.components.thermal.energy.per_token import CountedBy, Generation, TokenCount
from aiidpd.components.thermal.energy.sources import Sources
from aiidpd.contracts.engines import ENGINES, EngineState, EnginesView
from aiidpd.contracts.probes import PROBES, ProbedEndpoint, ProbesView
from aiidpd.engines.figures import EngineFigures, EngineReading, NotKnown
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.views import Views
from tests.fakes.clock import FakeClock

T = TypeVar("T")
MEASURED = ProbedEndpoint(
    "a",
    simulated=False,
    probed=1.0,
    measured_at=990.0,
    total_seconds=2.0,
    output_tokens=10,
    output_tokens_per_second=10.0,
)


class House:
    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._probed: tuple[ProbedEndpoint, ...] | None = None
        self._engines: tuple[EngineState, ...] = ()
        views = Views()
        views.offer(PROBES, lambda: None if self._probed is None else self._now(ProbesView(self._probed)))
        views.offer(ENGINES, lambda: self._now(EnginesView(self._engines)))
        self.sources = Sources(views)

    def _now(self, value: T) -> Reading[T]:
        return Reading(value, self._clock.time(), self._clock.monotonic())

    def endpoints(self, *endpoints: ProbedEndpoint) -> None:
        self._probed = endpoints

    def engines(self, **answers: EngineFigures | NotKnown) -> None:
        self._engines = tuple(
            with_answer(
                EngineState(name, "m", simulated=False),
                EngineReading(answer),
                1000.0,
                10.0,
                includes_probe=name == "b",
            )
            for name, answer in answers.items()
        )


@pytest.fixture
def house(clock: FakeClock) -> House:
    return House(clock)


def unmeasured(name: str, error: str = "") -> ProbedEndpoint:
    return ProbedEndpoint(name, simulated=False, error=error)


def test_before_anything_was_read_nothing_is_known(house: House) -> None:
    assert house.sources.names() == {}
    assert house.sources.token_counts() == house.sources.generations() == []


def test_tokens_by_the_engine_and_by_our_probe(house: House) -> None:
    house.endpoints(MEASURED, unmeasured("b"))
    busy = EngineFigures("vllm", 0, 2, 500, 100, 0)
    house.engines(a=busy, b=replace(busy, generated_tokens=None), c=replace(busy, requests_running=None))
    assert house.sources.token_counts() == [TokenCount("a", 1000.0, 500, 0, working=True)]
    assert house.sources.generations() == [Generation("a", 988.0, 990.0, 10, CountedBy.PROBES)]
    house.engines(a=replace(busy, requests_waiting=0))
    assert not house.sources.token_counts()[0].working
