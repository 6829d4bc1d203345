"""Regressions as text: 80 columns, and nothing that steers a terminal."""

from __future__ import annotations

import json

from aiidpd.api.document import parse, to_json
from aiidpd.cli.text import Paint
from aiidpd.components.bench.regression.api import RegressionsDocument, routes
from aiidpd.components.bench.regression.circumstances import Change
from aiidpd.components.bench.regression.cli_text import regression_lines
from aiidpd.components.bench.regression.words import changed_words, confidence_words
from tests.unit.components.bench.regression.monitored import QUIET, SLOW, Room


async def document(room: Room) -> dict[str, object]:
    route = next(each for each in routes(room.monitor) if each.method == "GET")
    answer = await route.handler(None)  # type: ignore[arg-type]  # it reads nothing of the call
    assert isinstance(answer, RegressionsDocument)
    found: dict[str, object] = json.loads(to_json(answer))
    assert parse(RegressionsDocument, found) == answer
    return found


async def test_a_regression_in_80_columns(room: Room):
    await room.probe(*QUIET)
    room.known = {"image": "vllm\x1b[31m:2", "driver": "580"}
    await room.probe(*SLOW)
    lines = regression_lines(await document(room), room.clock.time(), Paint(width=80))
    assert [line.split()[:3] for line in lines[:3]] == [
        ["ENDPOINT", "FIGURE", "STATE"],
        ["local", "tokens", "regressed"],
        ["local", "first-token", "steady"],
    ]
    assert all(len(line) <= 80 for line in lines)
    assert lines[3].startswith("local tokens: -9.")
    assert "confidence 99.9 %" in lines[3]
    assert "\\x1b[31m:2" in "\n".join(lines)
    assert all(line.isprintable() for line in lines)


async def test_before_any_probe_and_while_learning(room: Room):
    (_, row) = regression_lines(await document(room), 0.0, Paint())
    assert "not probed" in row
    await room.probe(*QUIET[:10])
    lines = regression_lines(await document(room), 0.0, Paint())
    assert "learning 10/96" in lines[1]
    assert regression_lines({"endpoints": []}, 0.0, Paint()) == []


def test_words():
    assert confidence_words(1.0) == "99.9 %"
    assert confidence_words(0.98765) == "98.7 %"
    assert changed_words(()) == "nothing that is known"
    many = [Change(f"n{number}", None, 1.5, 0.0) for number in range(6)]
    assert changed_words(many).endswith("n3 from unknown to 1.5, 2 more")
