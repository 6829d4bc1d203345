"""Engines that listen once their model is loaded: figures, sleep, and no page that generates or drains."""

from __future__ import annotations

import pytest

from aiidpd.contracts.engines import Residency
from aiidpd.engines import sglang, tensorrt_llm, tgi, vllm
from aiidpd.engines.figures import EngineFigures, NotKnown
from aiidpd.engines.profile import EngineProfile, Facts, Memory, Reply, Start
from tests.fakes import engine_pages as pages
from tests.unit.engines.conversing import REFUSED, converse, document, samples

MODELS = {"/v1/models": document(pages.models("vllm", "m"))}
CASES = [
    (vllm.PROFILE, "/metrics", pages.vllm(), 30),
    (sglang.PROFILE, "/metrics", pages.sglang(), 73),
    (tgi.PROFILE, "/metrics", pages.tgi(), 73),
    (tensorrt_llm.PROFILE, "/prometheus/metrics", pages.tensorrt_llm(), None),
]


@pytest.mark.parametrize(("profile", "path", "page", "steps"), CASES)
def test_its_page_says_it_all(profile: EngineProfile, path: str, page: str, steps: int | None) -> None:
    (reading, _), asked = converse(profile.poll(Facts(), Memory(), 0.0), {path: samples(page)})
    assert asked == [path]
    assert (reading.engine, reading.residency, reading.may_sleep) == (profile.name, Residency.LOADED, False)
    assert isinstance(reading.figures, EngineFigures)
    assert (reading.figures.requests_running, reading.figures.steps) == (2, steps)


@pytest.mark.parametrize("level", ["weights_offloaded", "discard_all"])
def test_a_vllm_that_sleeps_and_from_then_on_may(level: str) -> None:
    asleep = {"/metrics": samples(pages.vllm() + pages.vllm_asleep(level))}
    awake = {"/metrics": samples(pages.vllm() + pages.vllm_asleep(""))}
    (reading, memory), _ = converse(vllm.poll(Facts(), Memory(), 0.0), awake)
    assert (reading.residency, reading.may_sleep) == (Residency.LOADED, False)
    (reading, memory), _ = converse(vllm.poll(Facts(), memory, 5.0), asleep)
    assert (reading.residency, reading.may_sleep) == (Residency.SLEEPING, True)
    (reading, memory), _ = converse(vllm.poll(Facts(), memory, 10.0), awake)
    assert (reading.residency, reading.may_sleep) == (Residency.LOADED, True)


def test_how_it_was_started_or_the_configuration_says_that_it_may_sleep() -> None:
    page = {"/metrics": samples(pages.vllm())}
    start = Start(("vllm", "serve", "m", "--enable-sleep-mode"))
    for facts, may in [
        (Facts(start=start), True),
        (Facts(start=start, may_sleep=False), False),
        (Facts(may_sleep=True), True),
    ]:
        (reading, _), _ = converse(vllm.poll(facts, Memory(), 0.0), page)
        assert reading.may_sleep is may
    start = Start(("sglang.launch_server", "--enable-memory-saver"))
    answers = {"/metrics": samples(pages.sglang())}
    (reading, _), _ = converse(sglang.poll(Facts(start=start), Memory(), 0.0), answers)
    assert reading.may_sleep


def test_without_its_page_it_is_asked_whether_it_serves_and_for_the_page_again_much_later() -> None:
    (reading, memory), asked = converse(sglang.poll(Facts(), Memory(), 0.0), MODELS)
    assert asked == ["/metrics", "/v1/models"]
    assert reading.residency is Residency.LOADED
    assert isinstance(reading.figures, NotKnown)
    assert "--enable-metrics" in reading.figures.reason
    assert reading.figures.lasting
    (reading, memory), asked = converse(sglang.poll(Facts(), memory, 100.0), MODELS)
    assert asked == ["/v1/models"]
    (_, _), asked = converse(sglang.poll(Facts(), memory, 700.0), MODELS)
    assert asked == ["/metrics", "/v1/models"]


def test_a_page_of_another_program_is_none() -> None:
    answers = {"/metrics": samples("python_info 1\n"), **MODELS}
    (reading, _), asked = converse(vllm.poll(Facts(), Memory(), 0.0), answers)
    assert asked == ["/metrics", "/v1/models"]
    assert isinstance(reading.figures, NotKnown)
    assert "has no figures of vllm" in reading.figures.reason


@pytest.mark.parametrize("reply", [REFUSED, Reply(503, reason="it answers 503"), Reply(429, reason="429")])
def test_one_that_is_away_for_a_moment_is_asked_nothing_else(reply: Reply) -> None:
    (reading, memory), asked = converse(vllm.poll(Facts(), Memory(), 0.0), {"/metrics": reply, **MODELS})
    assert asked == ["/metrics"]
    assert (reading.residency, reading.busy) == (Residency.UNKNOWN, reply.status != 0)
    assert isinstance(reading.figures, NotKnown)
    assert not reading.figures.lasting
    assert memory.no_figures is None
