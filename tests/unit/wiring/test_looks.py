"""What the thermal room is told of containers and endpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiidpd.api.record_schema import IncidentContainers, IncidentRequests
from aiidpd.components.bench.stats import Trust, measure
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.components.engines.state import EngineState, EnginesView
from aiidpd.components.thermal.energy.engine_tokens import TokenCount
from aiidpd.components.thermal.energy.per_token import CountedBy, Generation
from aiidpd.engines.figures import EngineFigures, NotKnown
from aiidpd.engines.target import Chunk, Timeline
from aiidpd.incidents.requests import RequestCount
from aiidpd.kernel.latest import Latest
from aiidpd.wiring.looks import NO_ENDPOINTS, NOT_ASKED, Looks
from tests.fakes.clock import FakeClock

SAMPLE = measure(
    Timeline(0.0, 2.0, tuple(Chunk(0.5 + 0.1 * index, 4) for index in range(10)), "length", 100, 10, 0),
    Trust(),
)


class House:
    def __init__(self, clock: FakeClock) -> None:
        self.containers: Latest[RuntimeSnapshot] = Latest(clock, 100.0)
        self.bench: Latest[BenchView] = Latest(clock, 100.0)
        self.engines: Latest[EnginesView] = Latest(clock, 100.0)
        self.looks = Looks(self.containers, self.bench, self.engines)

    def endpoints(self, *views: EndpointView) -> None:
        self.bench.put(BenchView(views))

    def told(self, **answers: EngineFigures | NotKnown) -> None:
        states = (
            EngineState(name, "m", simulated=False).told(answer, 1000.0, 10.0, includes_probe=name == "b")
            for name, answer in answers.items()
        )
        self.engines.put(EnginesView(tuple(states)))


@pytest.fixture
def house(clock: FakeClock) -> House:
    return House(clock)


def view(name: str) -> EndpointView:
    return EndpointView(name, "http://x", "m", simulated=False)


def test_before_anything_was_read_it_says_so(house: House) -> None:
    assert house.looks.names() == {}
    assert house.looks.running()["reason"]
    IncidentContainers.model_validate(house.looks.running())
    assert house.looks.requests() == {
        "running": None,
        "waiting": None,
        "reason": NO_ENDPOINTS,
        "endpoints": [],
    }
    assert house.looks.counts() == house.looks.token_counts() == house.looks.generations() == []


def test_requests_of_all_endpoints_and_of_each(house: House) -> None:
    house.endpoints(view("a").measured(SAMPLE, 990.0, 1.0), view("b"), view("c").failed("refused", 1.0, 1.0))
    house.told(
        a=EngineFigures("vllm", 3, 2, 500, 100, 3),
        b=EngineFigures("llama.cpp", 1, 0, 7, 9, None),
        c=NotKnown("c answers 404", lasting=True),
    )
    told = house.looks.requests()
    IncidentRequests.model_validate(told)
    assert (told["running"], told["waiting"], told["reason"]) == (4, 2, "c: c answers 404")
    a, b, c = told["endpoints"]
    assert (a["requests_running"], a["requests_waiting"], a["read_at"]) == (3, 2, 1000.0)
    assert a["output_tokens_per_second"] == SAMPLE.output_tokens_per_second
    assert [each["includes_probe"] for each in (a, b, c)] == [False, True, False]
    assert (c["requests_running"], c["error"]) == (None, "refused")
    assert house.looks.counts() == [
        RequestCount("a", 10.0, 3, 2),
        RequestCount("b", 10.0, 1, 0),
        RequestCount("c", 10.0, None, None),
    ]


def test_where_engines_are_not_asked_the_last_probe_stands_there(house: House) -> None:
    house.endpoints(view("a").measured(SAMPLE, 990.0, 1.0))
    told = house.looks.requests()
    assert told["running"] is None
    assert told["reason"] == f"a: {NOT_ASKED}"
    assert told["endpoints"][0]["measured_at"] == 990.0


def test_tokens_by_the_engine_and_by_our_probe(house: House) -> None:
    house.endpoints(view("a").measured(SAMPLE, 990.0, 1.0), view("b"))
    busy = EngineFigures("vllm", 0, 2, 500, 100, 0)
    house.told(a=busy, b=replace(busy, generated_tokens=None), c=replace(busy, requests_running=None))
    assert house.looks.token_counts() == [TokenCount("a", 1000.0, 500, 0, working=True)]
    assert house.looks.generations() == [Generation("a", 988.0, 990.0, 10, CountedBy.PROBES)]
    house.told(a=replace(busy, requests_waiting=0))
    assert not house.looks.token_counts()[0].working
