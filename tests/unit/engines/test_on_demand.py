"""Ollama and llama-swap: models that a request would load are only ever listed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from aiidpd.contracts.engines import Residency
from aiidpd.engines import llamaswap, ollama
from aiidpd.engines.profile import Facts, Memory, Reply
from tests.fakes import engine_pages as pages
from tests.unit.engines.conversing import REFUSED, converse, document
from tests.unit.engines.test_llamacpp import json


@pytest.mark.parametrize(
    ("loaded", "model", "residency"),
    [
        ((), "", Residency.UNLOADED),
        (("llama3:latest",), "", Residency.LOADED),
        (("llama3:latest",), "llama3", Residency.LOADED),
        (("llama3:8b",), "llama3", Residency.UNLOADED),
        (("other:latest",), "llama3", Residency.UNLOADED),
    ],
)
def test_ollama_lists_what_is_loaded(loaded: tuple[str, ...], model: str, residency: Residency) -> None:
    answers = {"/api/ps": document(pages.ollama_ps(*loaded, vram=1_000))}
    (reading, _), asked = converse(ollama.poll(Facts(model), Memory(), 0.0), answers)
    assert asked == ["/api/ps"]
    assert (reading.residency, reading.may_sleep) == (residency, True)
    known = (5_000_000_000, 1_000) if residency is Residency.LOADED else (None, None)
    assert (reading.model_bytes, reading.model_gpu_bytes) == known


@pytest.mark.parametrize(
    ("states", "model", "residency"),
    [
        ({}, "", Residency.UNLOADED),
        ({"a": "ready"}, "a", Residency.LOADED),
        ({"a": "starting"}, "a", Residency.LOADING),
        ({"a": "stopping"}, "a", Residency.UNLOADED),
        ({"a": "ready"}, "b", Residency.UNLOADED),
        ({"a": "starting", "b": "ready"}, "", Residency.LOADED),
    ],
)
def test_llama_swap_lists_what_runs(states: dict[str, str], model: str, residency: Residency) -> None:
    answers = {"/running": document(pages.llama_swap_running(**states))}
    (reading, _), asked = converse(llamaswap.poll(Facts(model), Memory(), 0.0), answers)
    assert asked == ["/running"]
    assert (reading.residency, reading.may_sleep) == (residency, True)


def test_the_configuration_may_know_better_and_silence_is_not_known() -> None:
    for poll in (ollama.poll, llamaswap.poll):
        (reading, _), _ = converse(poll(Facts(may_sleep=False), Memory(), 0.0), {})
        assert (reading.residency, reading.may_sleep) == (Residency.UNKNOWN, False)
        answers = dict.fromkeys(("/api/ps", "/running"), REFUSED)
        (reading, _), _ = converse(poll(Facts(), Memory(), 0.0), answers)
        assert (reading.residency, reading.may_sleep) == (Residency.UNKNOWN, True)


@given(json)
def test_whatever_they_answer_there_is_a_reading(page: Any) -> None:
    for poll in (ollama.poll, llamaswap.poll):
        for found in (page, {"models": page, "running": page}, {"models": [page], "running": [page]}):
            answers = dict.fromkeys(("/api/ps", "/running"), Reply(200, document=found))
            (reading, _), _ = converse(poll(Facts("m"), Memory(), 0.0), answers)
            assert reading.may_sleep
