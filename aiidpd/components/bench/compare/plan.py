"""Order in which two sides are measured, and the prompts whose answers are compared (pure).

The same seed gives the same order. Of each two pairs one begins with A and one with B, at random: what
changes over time, such as a clock that falls, then favours neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PAIRS: Final = 20
MOST_PAIRS: Final = 200
QUESTIONS: Final = (
    "Explain in a few sentences why the sea is salt and most lakes are not.",
    "Write a short letter to a neighbour who has lent you a ladder and would like to have it back.",
    "Write a Python function that returns the longest word of a text, and say how it treats ties.",
    "A train leaves at 14:20 and arrives at 17:05 after a stop of 12 minutes. How long did it move?",
)
"""Prompts without a nonce, for that they are the same is the point."""
TRIES: Final = 2
"""How often each side answers each question."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two measurements in a row; ``a_first`` is their order."""

    number: int
    a_first: bool


def pairs(seed: int) -> Iterator[Pair]:
    """Yield pairs without end."""
    number = 0
    while True:
        first = _digest(seed, "order", number)[0] & 1 == 1
        for a_first in (first, not first):
            yield Pair(number, a_first)
            number += 1


def answer_seed(seed: int) -> int:
    """Return the seed that is sent with the questions, the same to both sides."""
    return int.from_bytes(_digest(seed, "answers", 0)[:3], "big")


def _digest(seed: int, what: str, number: int) -> bytes:
    return hashlib.sha256(f"{seed}/{what}/{number}".encode()).digest()
