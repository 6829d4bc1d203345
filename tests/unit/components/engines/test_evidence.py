from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.api.document import parse
from aiidpd.components.engines.evidence import NO_ENDPOINTS, NOT_POLLED, RequestEvidence
from aiidpd.components.engines.state import with_answer
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.probes import ProbedEndpoint, ProbesView
from aiidpd.engines.figures import EngineFigures, EngineReading, NotKnown
from aiidpd.incidents.api import IncidentRequests, IncidentTrack
from aiidpd.incidents.evidence import Moment
from aiidpd.kernel.latest import Latest
from tests.fakes.clock import FakeClock

MEASURED = ProbedEndpoint("a", simulated=False, measured_at=990.0, output_tokens_per_second=42.5)


def probed(name: str, error: str = "") -> ProbedEndpoint:
    return ProbedEndpoint(name, simulated=False, error=error)


@dataclass
class House:
    """Engines and probes whose answers a test decides."""

    clock: FakeClock
    probes: ProbesView = field(default_factory=ProbesView)

    def __post_init__(self) -> None:
        self.engines: Latest[EnginesView] = Latest(self.clock, 100.0)
        self.evidence = RequestEvidence(self.engines, lambda: self.probes)

    def answer(self, **answers: EngineFigures | NotKnown) -> None:
        states = tuple(
            with_answer(
                EngineState(name, "m", simulated=False),
                EngineReading(answer),
                1000.0,
                10.0,
                includes_probe=name == "b",
            )
            for name, answer in answers.items()
        )
        self.engines.put(EnginesView(states))
        for state in states:
            self.evidence.record(state)


@pytest.fixture
def house(clock: FakeClock) -> House:
    return House(clock)


def answered(name: str, read: float, running: int | None) -> EngineState:
    return EngineState(name, "m", simulated=False, requests_running=running, requests_waiting=0, read=read)


def test_before_anything_was_read_it_says_so(house: House) -> None:
    assert house.evidence.documents(Moment.BEGINNING) == {
        "requests": {"running": None, "waiting": None, "reason": NO_ENDPOINTS, "endpoints": []},
        "requests_at_end": None,
    }
    house.evidence.record(EngineState("a", "m", simulated=False))  # it was not polled yet
    window = house.evidence.rings.window(-math.inf, math.inf, longest=60.0)
    documents, files = house.evidence.summary(window)
    assert documents["requests_track"]["data"] == []
    assert files == ()


def test_requests_of_all_endpoints_and_of_each(house: House) -> None:
    house.probes = ProbesView((MEASURED, probed("b"), probed("c", error="refused")))
    house.answer(
        a=EngineFigures("vllm", 3, 2, 500, 100, 3),
        b=EngineFigures("llama.cpp", 1, 0, 7, 9, None),
        c=NotKnown("c answers 404", lasting=True),
    )
    (found,) = house.evidence.documents(Moment.END).values()
    parse(IncidentRequests, found)
    assert (found["running"], found["waiting"], found["reason"]) == (4, 2, "c: c answers 404")
    a, b, c = found["endpoints"]
    assert (a["requests_running"], a["requests_waiting"], a["read_at"]) == (3, 2, 1000.0)
    assert (a["measured_at"], a["output_tokens_per_second"]) == (990.0, 42.5)
    assert [each["includes_probe"] for each in (a, b, c)] == [False, True, False]
    assert (c["requests_running"], c["error"]) == (None, "refused")
    window = house.evidence.rings.window(-math.inf, math.inf, longest=60.0, offset=990.0)
    track = house.evidence.summary(window)[0]["requests_track"]
    parse(IncidentTrack, track)
    assert track == {
        "columns": ["time", "endpoint", "requests_running", "requests_waiting"],
        "data": [[1000.0, "a", 3, 2], [1000.0, "b", 1, 0], [1000.0, "c", None, None]],
    }
    assert all(type(row[2]) is int for row in track["data"][:2])


def test_where_engines_are_not_asked_the_last_probe_stands_there(house: House) -> None:
    house.probes = ProbesView((MEASURED,))
    found = house.evidence.documents(Moment.BEGINNING)["requests"]
    assert found["running"] is None
    assert found["reason"] == f"a: {NOT_POLLED}"
    assert found["endpoints"][0]["measured_at"] == 990.0


@given(
    st.lists(
        st.tuples(st.floats(1, 700), st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 99))),
        max_size=60,
    ),
    st.floats(0, 600),
)
def test_the_track_keeps_each_look_once_and_none_that_is_too_old(
    looks: list[tuple[float, str, int | None]], since: float
) -> None:
    evidence, now = RequestEvidence(Latest(FakeClock(), 100.0), ProbesView), 0.0
    everything = []
    for gap, endpoint, running in looks:
        now += gap
        everything.append([now, endpoint, running, 0])
        for _ in range(2):
            evidence.record(answered(endpoint, now, running))
    window = evidence.rings.window(now - since, now, longest=60.0)
    track = evidence.summary(window)[0]["requests_track"]["data"]
    assert track == [row for row in everything if row[0] >= now - since]


def test_of_very_many_answers_the_newest_are_shown() -> None:
    evidence = RequestEvidence(Latest(FakeClock(), 100.0), ProbesView)
    for second in range(600):
        for endpoint in range(10):
            evidence.record(answered(str(endpoint), float(second), 1))
    window = evidence.rings.window(0.0, 600.0, longest=60.0)
    track = evidence.summary(window)[0]["requests_track"]["data"]
    assert len(track) == 4096
    assert (track[0][0], track[-1][0]) == (190.0, 599.0)
