"""Requests to a llama-server, and those that are never sent to one that may sleep."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineFigures, EngineReading, NotKnown
from aiidpd.engines.llamacpp import MAY_SLEEP, NO_PAGES, ROUTER, UNKNOWN_START, poll
from aiidpd.engines.profile import Facts, Memory, Reply, Start
from tests.fakes import engine_pages as pages
from tests.unit.engines.conversing import ABSENT, REFUSED, converse, document, samples

AWAKE = Facts(start=Start(("llama-server", "-m", "x.gguf")))
IDLES = Facts(start=Start(("llama-server", "-m", "x.gguf", "--sleep-idle-seconds", "60")))
LOADING = Reply(503, reason="it answers 503")
BUSY = {
    "/props": document(pages.props()),
    "/metrics": samples(pages.llama(running=1)),
    "/slots": document(pages.slots(40, prompt=300)),
}


def ask(
    facts: Facts, answers: dict[str, Reply], memory: Memory | None = None, now: float = 1000.0
) -> tuple[EngineReading, Memory, list[str]]:
    (reading, after), asked = converse(poll(facts, memory or Memory(), now), answers)
    return reading, after, asked


def figures(reading: EngineReading) -> EngineFigures:
    assert isinstance(reading.figures, EngineFigures), reading
    return reading.figures


def reason(reading: EngineReading) -> NotKnown:
    assert isinstance(reading.figures, NotKnown), reading
    return reading.figures


def test_one_that_cannot_sleep_is_asked_for_its_figures_and_while_it_works_for_its_slots() -> None:
    reading, memory, asked = ask(AWAKE, BUSY)
    assert asked == ["/props", "/metrics", "/slots"]
    assert (reading.residency, reading.may_sleep) == (Residency.LOADED, False)
    assert figures(reading) == EngineFigures("llama.cpp", 1, 0, 640, 120, 200, 71, 300)
    idle = BUSY | {"/metrics": samples(pages.llama(running=0))}
    reading, memory, asked = ask(AWAKE, idle, memory, 1010.0)
    assert asked == ["/metrics"]
    assert figures(reading).longest_prompt_tokens is None
    _, _, asked = ask(AWAKE, idle, memory, 1061.0)
    assert asked == ["/props", "/metrics"]  # it may have been started anew


@pytest.mark.parametrize("facts", [IDLES, Facts(), Facts(start=AWAKE.start, may_sleep=True)])
def test_one_that_may_sleep_is_asked_nothing_that_counts_as_use(facts: Facts) -> None:
    for _ in range(3):
        reading, memory, asked = ask(facts, BUSY)
        assert asked == ["/props"]
        assert (reading.residency, reading.may_sleep) == (Residency.LOADED, True)
    assert reason(reading).reason == (UNKNOWN_START if facts.start is None else MAY_SLEEP)
    reading, memory, asked = ask(facts, BUSY | {"/props": document(pages.props(asleep=True))}, memory)
    assert asked == ["/props"]
    assert (reading.residency, reading.may_sleep) == (Residency.SLEEPING, True)


def test_one_that_was_seen_asleep_may_sleep_whatever_else_is_said() -> None:
    facts = Facts(start=AWAKE.start, may_sleep=False)
    reading, memory, _ = ask(facts, {"/props": document(pages.props(asleep=True))})
    assert (reading.residency, reading.may_sleep) == (Residency.SLEEPING, True)
    reading, memory, asked = ask(facts, BUSY, memory, 1005.0)
    assert asked == ["/props"]
    assert reading.may_sleep


def test_the_configuration_says_what_is_not_known() -> None:
    reading, _, asked = ask(Facts(may_sleep=False), BUSY)
    assert asked == ["/props", "/metrics", "/slots"]
    assert not reading.may_sleep


def test_an_older_one_that_knows_no_sleep() -> None:
    old = {key: value for key, value in pages.props().items() if key != "is_sleeping"}
    reading, _, asked = ask(Facts(), BUSY | {"/props": document(old)})
    assert asked == ["/props", "/metrics", "/slots"]
    assert not reading.may_sleep


def test_one_that_loads_says_so_and_one_that_is_gone_is_not_known() -> None:
    reading, _, asked = ask(AWAKE, {"/props": LOADING})
    assert asked == ["/props"]
    assert reading.residency is Residency.LOADING
    assert not reason(reading).lasting
    reading, _, _ = ask(IDLES, {"/props": REFUSED})
    assert (reading.residency, reading.may_sleep) == (Residency.UNKNOWN, True)
    reading, memory, _ = ask(AWAKE, BUSY)
    reading, memory, asked = ask(AWAKE, {"/metrics": LOADING}, memory, 1001.0)
    assert (asked, reading.residency) == (["/metrics"], Residency.LOADING)
    assert memory.page is None  # started anew: what /props said is no longer believed


def test_without_its_page_the_slots_count_the_steps() -> None:
    answers = {
        "/props": document(pages.props(metrics=False)),
        "/slots": document(pages.slots(10, 20, prompt=100)),
    }
    reading, memory, asked = ask(AWAKE, answers)
    assert asked == ["/props", "/slots"]
    found = figures(reading)
    assert (found.requests_running, found.requests_waiting, found.generated_tokens) == (2, None, None)
    assert (found.steps, found.longest_prompt_tokens) == (230, 100)
    answers["/slots"] = document(pages.slots(15, 20, prompt=100))
    reading, memory, _ = ask(AWAKE, answers, memory, 1005.0)
    assert figures(reading).steps == 235
    answers["/slots"] = document(pages.slots(3, prompt=50, task=99))  # another request
    reading, memory, _ = ask(AWAKE, answers, memory, 1010.0)
    assert figures(reading).steps == 288
    answers["/slots"] = document(pages.slots())
    reading, _, _ = ask(AWAKE, answers, memory, 1015.0)
    assert (figures(reading).requests_running, figures(reading).steps) == (0, 288)


def test_with_neither_page_it_says_how_to_have_them() -> None:
    reading, _, asked = ask(AWAKE, {"/props": document(pages.props(metrics=False, slots=False))})
    assert asked == ["/props"]
    assert reading.figures == NotKnown(NO_PAGES, lasting=True)
    assert reading.residency is Residency.LOADED


@pytest.mark.parametrize(
    ("states", "model", "residency"),
    [
        (("loaded", "unloaded"), "a", Residency.LOADED),
        (("loaded", "unloaded"), "b", Residency.UNLOADED),
        (("sleeping", "loading"), "a", Residency.SLEEPING),
        (("sleeping", "loading"), "b", Residency.LOADING),
        (("unloaded", "sleeping"), "", Residency.SLEEPING),
        (("unloaded", "downloading"), "", Residency.LOADING),
        (("unloaded", "unloaded"), "", Residency.UNLOADED),
        (("new word", "unloaded"), "a", Residency.UNKNOWN),
        (("loaded", "loaded"), "other", Residency.UNKNOWN),
    ],
)
def test_a_router_is_asked_how_its_models_are_and_nothing_that_it_hands_on(
    states: tuple[str, str], model: str, residency: Residency
) -> None:
    answers = BUSY | {
        "/props": document(pages.router_props()),
        "/models": document(pages.models("llama.cpp", "a", "b", states=states)),
    }
    for facts in (Facts(model), Facts(model, AWAKE.start)):
        reading, _, asked = ask(facts, answers)
        assert asked == ["/props", "/models"]
        assert (reading.residency, reading.may_sleep) == (residency, True)
        assert reading.figures == NotKnown(ROUTER, lasting=False)


json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
nearly_slots = st.lists(
    st.fixed_dictionaries(
        {
            "id": json,
            "is_processing": st.one_of(st.just(True), json),
            "id_task": json,
            "n_prompt_tokens": json,
            "next_token": st.one_of(json, st.lists(st.fixed_dictionaries({"n_decoded": json}), max_size=2)),
        }
    ),
    max_size=4,
)


@given(json, json, st.one_of(json, nearly_slots), st.sampled_from([200, 404, 500, 503, 0]))
def test_whatever_it_answers_there_is_a_reading_and_no_step_back(
    props: Any, models: Any, slots: Any, status: int
) -> None:
    memory, steps = Memory(), 0
    for now, page in enumerate((props, pages.props(metrics=False), pages.router_props(), props)):
        answers = {
            "/props": document(page),
            "/models": Reply(status, document=models),
            "/slots": document(slots),
            "/metrics": ABSENT,
        }
        reading, memory, _ = ask(AWAKE, answers, memory, 100.0 * now)
        assert memory.steps >= steps
        steps = memory.steps
        if isinstance(reading.figures, EngineFigures):
            assert (reading.figures.longest_prompt_tokens or 0) >= 0


def test_read_again_within_a_second_it_is_asked_for_one_page_alone() -> None:
    facts = Facts(may_sleep=False)
    _, memory, asked = ask(facts, BUSY, now=1000.0)
    assert asked == ["/props", "/metrics", "/slots"]
    reading, memory, asked = ask(facts, BUSY, memory, now=1000.2)
    assert asked == ["/metrics"]
    assert isinstance(reading.figures, EngineFigures)
    assert reading.figures.requests_running == 1
    _, _, asked = ask(facts, BUSY, memory, now=1001.0)
    assert asked == ["/metrics", "/slots"]
