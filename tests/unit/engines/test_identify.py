"""An engine that is not known says which one it is, without being used."""

from __future__ import annotations

import pytest

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineReading, NotKnown
from aiidpd.engines.identify import identify, poll_engine
from aiidpd.engines.ollama import PROFILE as OLLAMA
from aiidpd.engines.profile import EngineProfile, Facts, Memory, Reply
from tests.fakes import engine_pages as pages
from tests.unit.engines.conversing import REFUSED, converse, document, samples


@pytest.mark.parametrize(
    ("answers", "engine", "asked"),
    [
        ({"/v1/models": document(pages.models("vllm", "m"))}, "vllm", 1),
        ({"/v1/models": document(pages.models("llama.cpp", "m"))}, "llama.cpp", 1),
        ({"/v1/models": document(pages.models("sglang", "m"))}, "sglang", 1),
        ({"/v1/models": document(pages.models("tensorrt-llm", "m"))}, "tensorrt-llm", 1),
        ({"/v1/models": document(pages.models("llama-swap", "m"))}, "llama-swap", 1),
        ({"/v1/models": document(pages.models("ollama", "m"))}, "ollama", 1),
        (
            {
                "/v1/models": document({"data": [{"id": "m", "owned_by": "somebody"}]}),
                "/api/version": document({"version": "0.30.0"}),
            },
            "ollama",
            2,
        ),
        ({"/v1/models": document(pages.models("tgi", "m")), "/metrics": samples(pages.tgi())}, "tgi", 3),
        ({"/metrics": samples(pages.vllm())}, "vllm", 3),
    ],
)
def test_it_is_found_out(answers: dict[str, Reply], engine: str, asked: int) -> None:
    found, paths = converse(identify(Facts(), Memory()), answers)
    assert isinstance(found, EngineProfile)
    assert (found.name, len(paths)) == (engine, asked)


@pytest.mark.parametrize(
    ("answers", "lasting"),
    [
        ({}, True),
        ({"/v1/models": REFUSED}, False),
        ({"/v1/models": Reply(503, reason="503")}, False),
        ({"/metrics": samples("up 1\n")}, True),
        ({"/metrics": REFUSED}, False),
        ({"/v1/models": document([]), "/api/version": document({"version": 3})}, True),
    ],
)
def test_where_it_is_not_the_reason_is_given(answers: dict[str, Reply], lasting: bool) -> None:
    found, _ = converse(identify(Facts(), Memory()), answers)
    assert isinstance(found, EngineReading)
    assert isinstance(found.figures, NotKnown)
    assert found.figures.lasting is lasting
    assert not found.may_sleep


def test_one_that_fell_silent_may_sleep_as_before() -> None:
    answers = {"/api/ps": document(pages.ollama_ps())}
    (profile, reading, memory), _ = converse(poll_engine(OLLAMA, Facts(), Memory(), 0.0), answers)
    assert (profile, reading.residency) == (OLLAMA, Residency.UNLOADED)
    (profile, reading, _), _ = converse(poll_engine(None, Facts(), memory, 0.0), {"/v1/models": REFUSED})
    assert profile is None
    assert (reading.residency, reading.may_sleep) == (Residency.UNKNOWN, True)
