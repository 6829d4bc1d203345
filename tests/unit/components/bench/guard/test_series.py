"""Measurements of one side: warm, counted, and none in which this process was late."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import pytest

from aiidpd.components.bench.alone.prober import Disturbed
from aiidpd.components.bench.compare.requests import Stopped
from aiidpd.components.bench.guard.conduct import Failed
from aiidpd.components.bench.guard.series import Series
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.target import Chunk, ProbeRequest, Timeline
from aiidpd.kernel.errors import Unavailable
from tests.tables import made

BROKEN = Unavailable("probe", "llm", reason="it answers 500")


def timeline(tokens: int = 64, *, late: float = 0.0, text: str = "a ") -> Timeline:
    chunks = tuple(Chunk(0.1 + 0.02 * at, 2, 1, 2, late, text) for at in range(tokens))
    return Timeline(0.0, chunks[-1].at + 0.001, chunks, "length", 200, tokens, 0)


class Scripted:
    """Requests whose answers are scripted; the last one repeats."""

    def __init__(self, answers: Iterable[Timeline | Exception] = (timeline(),)) -> None:
        found = list(answers)
        self._answers = itertools.chain(found, itertools.repeat(found[-1]))
        self.sent: list[ProbeRequest] = []
        self.notes: dict[str, None] = {}

    async def send(self, _target: object, request: ProbeRequest) -> Timeline:
        self.sent.append(request)
        found = next(self._answers)
        if isinstance(found, Exception):
            raise found
        return found


def series(requests: Scripted) -> Series:
    numbers = itertools.count()
    return Series(requests, made(BenchSettings), lambda: f"n{next(numbers)}", seed=1, tokens=64)  # type: ignore[arg-type]


def nothing(_: int) -> None:
    """Report nothing."""


async def measured(requests: Scripted, count: int = 4, progress: Callable[[int], None] = nothing) -> int:
    return len(await series(requests).measure(None, count, progress))  # type: ignore[arg-type]


async def test_two_warm_it_up_and_the_others_count() -> None:
    requests, seen = Scripted(), list[int]()
    assert await measured(requests, 4, seen.append) == 4
    assert (len(requests.sent), seen) == (6, [1, 2, 3, 4])
    assert len({each.prompt.split()[0] for each in requests.sent}) == 6, "no prompt is in a cache"


async def test_one_in_which_this_process_was_late_is_measured_again() -> None:
    late = timeline(late=0.5)
    requests = Scripted([timeline(), timeline(), late, late, timeline()])
    assert await measured(requests) == 4
    assert len(requests.sent) == 8


async def test_where_it_is_always_late_there_is_nothing_in_bounded_time() -> None:
    requests = Scripted([timeline(late=0.5)])
    assert await measured(requests) == 0
    assert len(requests.sent) == 22


async def test_what_was_disturbed_is_sent_again() -> None:
    requests = Scripted([Disturbed(), timeline()])
    assert await measured(requests) == 4


@pytest.mark.parametrize("error", [BROKEN, Stopped("busy", "others were served"), Stopped("budget", "over")])
async def test_it_ends_where_nothing_comes(error: Exception) -> None:
    with pytest.raises(Failed):
        await measured(Scripted([error]))


async def test_one_that_fails_now_and_then_is_measured_all_the_same() -> None:
    assert await measured(Scripted([timeline(), BROKEN, BROKEN, timeline()])) == 4


async def test_answers_of_both_sides_are_compared_question_by_question() -> None:
    requests = Scripted()
    one = series(requests)
    await one.ask("old", None)  # type: ignore[arg-type]
    await one.ask("new", None)  # type: ignore[arg-type]
    both = one.of_both()
    assert len(both) == 4
    assert all(each.a == each.b and len(each.a) == 2 for each in both)
    assert len({each.seed for each in requests.sent}) == 1


async def test_a_side_without_an_answer_is_named() -> None:
    one = series(Scripted([timeline(), timeline(), timeline()]))
    await one.ask("old", None)  # type: ignore[arg-type]
    one.requests = Scripted([BROKEN])  # type: ignore[assignment]
    await one.ask("new", None)  # type: ignore[arg-type]
    assert {each.reason for each in one.of_both()} == {"B: it answers 500"}
