"""Tokens of a series: the last number that the engine gave, whatever more it refuses."""

from __future__ import annotations

import pytest

from aiidpd.components.bench.enough import enough_tokens
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.target import Timeline
from aiidpd.kernel.errors import Unavailable
from tests.tables import made
from tests.unit.components.bench.test_longer import steady

SETTINGS = made(BenchSettings, interval=900.0)


class Engine:
    """Makes a token in ``each`` seconds, and at most ``most`` of them."""

    def __init__(self, each: float, most: int) -> None:
        self.each, self.most = each, most
        self.requests: list[int] = []

    async def probe(self, tokens: int) -> Timeline:
        self.requests.append(tokens)
        if tokens > self.most:
            raise Unavailable("measure", "engine", reason="its context is too short")
        return steady(tokens, self.each)


async def test_a_fast_engine_is_asked_until_its_pace_can_be_told():
    engine = Engine(0.0001, 4096)
    assert await enough_tokens(engine.probe, 4, SETTINGS) == engine.requests[-1] > 4


async def test_what_it_refuses_beyond_is_not_used():
    engine = Engine(0.0001, 40)
    assert await enough_tokens(engine.probe, 4, SETTINGS) == 32
    assert engine.requests == [4, 32, 256]


async def test_where_even_the_first_fails_that_is_an_error():
    with pytest.raises(Unavailable, match="too short"):
        await enough_tokens(Engine(0.1, 2).probe, 4, SETTINGS)
