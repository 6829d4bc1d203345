"""Comparisons over the API, and as text."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.document import parse
from aiidpd.api.route import Call, Route
from aiidpd.cli.session import USAGE, Session
from aiidpd.cli.text import Paint
from aiidpd.components.bench.compare.api import (
    CancelledDocument,
    CompareRequest,
    ComparisonsDocument,
    PeriodsQuery,
    routes,
)
from aiidpd.components.bench.compare.cli import add, period, result
from aiidpd.components.bench.compare.cli_text import comparison_lines, comparison_table
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.compare.result import Comparison
from aiidpd.components.bench.compare.store import ComparisonStore
from aiidpd.history.rows import Point
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.jobs import JobBook, JobQueue
from tests.documents import as_dict
from tests.fakes.clock import FakeClock
from tests.unit.components.bench.compare.sides import Bench, Side
from tests.unit.components.bench.test_record_store import AT, comparison

DAY = 86_400.0


class Samples:
    """A history in which the second day is 10 % slower."""

    async def samples(
        self, series: str, subject: str | None = None, *, since: float, until: float, limit: int
    ) -> list[Point]:
        assert subject == "a"
        assert series in ("ttft_seconds", "time_per_output_token_seconds")
        assert limit > 1000
        assert until > since
        slower = 1.1 if since >= AT + DAY else 1.0
        values = (slower * (0.02 + 0.0001 * (number % 5)) for number in range(96))
        return [
            Point(since + 900 * number, value, value, value, 1, 0, "a", False)
            for number, value in enumerate(values)
        ]


class Api:
    """The routes of comparisons."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.store = ComparisonStore(folder)
        self.control = ComparisonControl()
        self.queue = JobQueue(JobBook(clock), "bench")
        found = routes(self.store, self.control, self.queue, Samples(), clock)
        self.routes: dict[tuple[str, str], Route] = {(each.method, each.path): each for each in found}

    async def call(self, method: str, page: str, **given: Any) -> Any:
        call = Call(**({"path": {}, "query": None, "body": None, "by": "root"} | given))
        return await self.routes[method, f"/v1/bench/{page}"].handler(call)


async def test_they_are_listed_and_read(clock: FakeClock, tmp_path: Path):
    api = Api(tmp_path, clock)
    api.store.save(comparison(api.store.new_id(AT)))
    listed: ComparisonsDocument = await api.call("GET", "comparisons")
    (one,) = listed.comparisons
    assert (one.a, one.b, one.pairs, one.ended) == ("a", "b", 4, "clear")
    assert await api.call("GET", "comparisons/{id}", path={"id": one.id}) == comparison(one.id)
    (line,) = comparison_table(as_dict(listed), AT + 60, Paint())[1:]
    assert one.id in line


async def test_one_is_queued_and_the_running_one_cancelled(clock: FakeClock, tmp_path: Path):
    api = Api(tmp_path, clock)
    await api.call("POST", "comparisons", body=parse(CompareRequest, {"a": "x", "b": "y", "pairs": 8}))
    job = await api.queue.next()
    wanted = {"compare_a": "x", "compare_b": "y", "pairs": 8}
    assert {name: job.arguments[name] for name in wanted} == wanted
    with pytest.raises(NotFound, match="none runs"):
        await api.call("POST", "comparisons/cancel")
    with api.control.runs():
        assert await api.call("POST", "comparisons/cancel") == CancelledDocument(cancelled=True)
        assert api.control.cancelled
    assert not api.control.cancelled


async def test_two_days_are_compared_by_their_history(clock: FakeClock, tmp_path: Path):
    query = PeriodsQuery("a", AT, AT + DAY, AT + DAY, AT + 2 * DAY)
    found: Comparison = await Api(tmp_path, clock).call("GET", "periods", query=query)
    assert [each.outcome for each in found.figures] == ["slower", "slower"]
    assert found.figures[0].text.startswith("B is 9.1 % slower")
    lines = comparison_lines(as_dict(found), Paint())
    assert lines[0].startswith("A  a  20")
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("until", [AT, AT - 1, AT + 400 * DAY])
async def test_a_period_that_is_none_is_refused(clock: FakeClock, tmp_path: Path, until: float):
    with pytest.raises(Invalid, match="period B"):
        await Api(tmp_path, clock).call("GET", "periods", query=PeriodsQuery("a", AT, AT + 1, AT, until))


async def test_the_result_fits_80_columns_and_cannot_steer_a_terminal(clock: FakeClock, tmp_path: Path):
    sides = [
        Side(clock, "a"),
        Side(clock, "b", pace=0.019, says=lambda request: "\x1b[2J" + "x" * max(1, request.max_tokens - 4)),
    ]
    bench = Bench(clock, tmp_path, sides)
    found = await bench.compare(bench.job())
    assert found is not None
    lines = comparison_lines(as_dict(found), Paint(width=80))
    text = "\n".join(lines)
    print(text)  # noqa: T201
    assert all(len(line) <= 80 for line in lines)
    assert "\x1b" not in text
    assert "first token: B is " in text
    assert "answers: 0 of 4 answers are the same" in text


def test_a_day_or_some_are_a_period():
    begin, end = period("2026-11-28") or (0, 0)
    assert end - begin == DAY
    first, last = period("2026-11-22..2026-11-28") or (0, 0)
    assert (last - first, last) == (7 * DAY, end)
    for wrong in ("", "yesterday", "2026-13-01", "2026-11-28..", "..", "2026-11-28..x"):
        assert period(wrong) is None


class Client:
    """A daemon that has one comparison."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def get(self, path: str, **query: Any) -> Any:
        self.asked.append((path, query))
        if path.endswith("comparisons"):
            return {"comparisons": [], "problems": ["one is damaged"]}
        return as_dict(comparison("20270115T080000Z"))

    def get_named(self, path: str, name: str) -> Any:
        return self.get(f"{path}/{name}")

    def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        return {"id": "bench-1", "kind": "bench"}


def command(*words: str, json: bool = False) -> tuple[int, str, str, Client]:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    client, out, err = Client(), io.StringIO(), io.StringIO()
    session = Session(client, json, out, err, Paint())  # type: ignore[arg-type]
    options = parser.parse_args(words)
    return options.run(options, session), out.getvalue(), err.getvalue(), client


def test_the_commands_ask_for_what_they_say():
    code, out, _, client = command("compare", "a", "b", "--pairs", "8", "--no-wait")
    assert (code, out) == (0, "bench-1\n")
    assert client.asked == [("/v1/bench/comparisons", {"a": "a", "b": "b", "pairs": 8})]
    code, out, _, client = command("compare", "2026-11-22..2026-11-27", "2026-11-28", "--days", "local")
    assert code == 0
    assert client.asked[0][1]["endpoint"] == "local"
    assert "alike" not in out
    assert "no difference above 1.5 %" in out
    code, _, err, client = command("compare", "then", "now", "--days", "local")
    assert (code, client.asked) == (USAGE, [])
    assert "'then' is no day" in err


def test_comparisons_are_listed_shown_and_cancelled():
    assert command("comparisons")[2] == "one is damaged\n"
    assert "answers: the answers were not compared" in command("comparisons", "20270115T080000Z")[1]
    assert command("comparisons", "20270115T080000Z", json=True)[1].startswith("{")
    assert command("comparisons", "--cancel")[3].asked == [("/v1/bench/comparisons/cancel", {})]


def test_a_job_without_a_result_shows_none():
    session = Session(Client(), False, io.StringIO(), io.StringIO(), Paint())  # type: ignore[arg-type]
    assert result(session, {"result": {}}) == []
