"""Text of prompts."""

from __future__ import annotations

import itertools
from collections import Counter

from aiidpd.components.bench.prose import SENTENCES, words


def test_it_is_sentences_none_of_which_is_another():
    assert len(set(SENTENCES)) == len(SENTENCES) >= 25
    assert all(each[0].isupper() and each.endswith(".") for each in SENTENCES)


def test_a_usual_prompt_repeats_nothing_and_a_long_one_no_long_part():
    usual = list(itertools.islice(words(), 200))
    runs = Counter(zip(*(usual[start:] for start in range(6)), strict=False))
    assert max(runs.values()) == 1
    long = list(itertools.islice(words(), 5000))
    assert len(long) == 5000
    length = max(len(each.split()) for each in SENTENCES) * 20
    first = tuple(long[:length])
    assert sum(tuple(long[at : at + length]) == first for at in range(2000)) == 1
