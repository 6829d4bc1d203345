"""Workloads, their lengths and their texts."""

from __future__ import annotations

import ast
import math
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.lengths import Lengths
from aiidpd.components.bench.load.text import code, prose, words_for
from aiidpd.components.bench.load.workloads import WORKLOADS, Kind
from aiidpd.engines.chat import Form

GRID = [(place + 0.5) / 1000 for place in range(1000)]


@given(st.floats(1, 1e5), st.floats(0, 2), st.integers(1, 100), st.lists(st.floats(0.001, 0.999), min_size=2))
def test_lengths_are_within_their_bounds_and_rise(
    median_: float, spread: float, least: int, units: list[float]
):
    lengths = Lengths(median_, spread, least, 50_000)
    found = [lengths.at(unit) for unit in sorted(units)]
    assert found == sorted(found)
    assert all(least <= each <= 50_000 for each in found)


@pytest.mark.parametrize(("mean", "spread"), [(69.5, 0.8), (214.5, 0.8), (8948, 0.8), (100, 0.0)])
def test_lengths_by_their_mean_have_it(mean: float, spread: float):
    lengths = Lengths.by_mean(mean, spread, 1, 10**9)
    assert math.isclose(fmean(map(lengths.at, GRID)), mean, rel_tol=0.02)


def kind(workload: str, place: int = 0) -> Kind:
    return WORKLOADS[workload].kinds[place]


def test_the_seed_system_s_users_have_its_weights_and_waits():
    seed, llama = WORKLOADS["seed"], WORKLOADS["seed-llama"]
    assert {each.name: each.weight for each in seed.kinds} == {
        "short": 3,
        "medium": 2,
        "long": 1,
        "models": 1,
    }
    assert seed.wait == (1, 5)
    assert {each.name: each.weight for each in llama.kinds} == {"quick": 4, "hypothesis": 2}
    assert {each.form for each in llama.kinds} == {Form.LLAMA_CPP}
    assert llama.wait == (0.5, 2)


def test_lengths_are_those_of_their_sources():
    assert median(map(kind("code").prompt.at, GRID)) == 1500
    assert median(map(kind("code").answer.at, GRID)) == 13
    assert median(map(kind("batch").prompt.at, GRID)) == 1020
    assert median(map(kind("batch").answer.at, GRID)) == 129
    assert math.isclose(fmean(map(kind("chat").prompt.at, GRID)), 69.5, rel_tol=0.03)
    assert math.isclose(fmean(map(kind("chat").answer.at, GRID)), 214.5, rel_tol=0.03)
    assert math.isclose(fmean(map(kind("rag").prompt.at, GRID)), 6711 / 0.75, rel_tol=0.05)
    assert all(each.source and each.text for each in WORKLOADS.values())


@given(st.integers(1, 3000), st.integers(0, 99))
def test_prose_has_the_words_of_its_length_and_whole_sentences_until_the_last(tokens: int, seed: int):
    text = prose(Draws(seed), tokens, "x")
    assert len(text.split()) == words_for(tokens)
    assert text == prose(Draws(seed), tokens, "x")
    assert text.isascii()
    assert all(each[0].isupper() for each in text.split(". "))


def test_two_texts_differ():
    assert prose(Draws(1), 200, "a") != prose(Draws(1), 200, "b")
    assert prose(Draws(1), 200, "a") != prose(Draws(2), 200, "a")


@given(st.integers(1, 3000))
def test_code_is_that_long_and_code(tokens: int):
    text = code(Draws(3), tokens, "x")
    assert abs(text.count("\n") - max(6, tokens // 10)) <= 1
    whole = text[: text.rfind("\n\ndef ")] if "\n\ndef " in text else text
    ast.parse(whole)
