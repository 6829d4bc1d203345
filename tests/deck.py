"""A deck of cards: chance that leaves nothing out, however few rounds there are."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def deck(cards: Sequence[str], numbers: Sequence[int], chance: random.Random) -> Iterator[str]:
    """Yield ``cards`` for ever, in any order, each its number of times before the deck is shuffled anew."""
    whole = [card for card, number in zip(cards, numbers, strict=True) for _ in range(number)]
    while True:
        yield from chance.sample(whole, len(whole))
