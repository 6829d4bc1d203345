"""Upgrades as text for people."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import pytest

from aiidpd.api.document import to_json
from aiidpd.cli.text import Paint
from aiidpd.components.bench.compare.agreement import Agreement, Judged
from aiidpd.components.bench.guard.cli import share
from aiidpd.components.bench.guard.cli_text import plan_lines, upgrade_lines, upgrade_table
from aiidpd.components.bench.guard.document import CriterionRecord, Finding
from tests.unit.components.bench.guard.test_verdict import upgrade

PAINT = Paint(colour=False, width=0)
PLAN: dict[str, Any] = {
    "container": "llm",
    "refusal": "",
    "remedy": "",
    "old_image": {"reference": "llm:1", "id": "sha256:" + "1" * 64, "digests": ["llm@sha256:" + "3" * 64]},
    "new_image": {"reference": "llm:2", "id": "", "digests": []},
    "present": False,
    "beside": False,
    "mode_reason": "GPU 0: 10.0 GiB free, 1.1 x 12.0 GiB needed",
    "engine": "llm",
    "url": "http://127.0.0.1:8000",
    "model": "m",
    "stop_grace": 10.0,
    "notes": ["compose made it: write image: llm:2"],
}


def test_the_plan_says_what_stops_and_by_what_it_goes_back() -> None:
    text = "\n".join(plan_lines(PLAN, {"slower": 0.1, "agree": None, "settle": 30.0}))
    assert "not on this machine: it is pulled first" in text
    assert "slower by more than 10 %" in text
    assert "50 % of the answers" in text
    assert "well for 30 s" in text
    assert "compose made it" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_refusal_says_what_to_do() -> None:
    lines = plan_lines({**PLAN, "refusal": "nobody has allowed it", "remedy": "give it the label"}, {})
    assert lines[-2:] == ["it can't be tried: nobody has allowed it", "give it the label"]


def test_an_upgrade_shows_figures_answers_differences_and_log() -> None:
    judged = Judged("Why?", same=False, character=3, token=None, a="the sea\x1b[2J", b="the lake")
    found = replace(
        upgrade(1.2),
        outcome="returned",
        reason="speed",
        findings=(Finding("speed", "slower"), Finding("answers", "vary", clear=False, remedy="--agree 0")),
        acceptance=(CriterionRecord("errors", "<= 1 %", "passed", 0.0),),
        answers=Agreement(1, 0, 0.0, (judged,), "0 of 1"),
        differences=("Env: A=1 -> -",),
        new_log=("RuntimeError: no kernel image",),
        stopped_seconds=3.0,
    )
    text = "\n".join(upgrade_lines(json.loads(to_json(found)), PAINT))
    for words in (
        "NEW/OLD",
        "old  the sea",
        "new  the lake",
        "Env: A=1 -> -",
        "no kernel image",
        "not clear: vary",
    ):
        assert words in text
    assert "nobody served for 3 s" in text
    assert "\x1b" not in text


def test_the_list_has_a_line_each() -> None:
    row = {
        "id": "20261128T000000Z", "container": "llm", "began_at": 0.0, "old_image": "llm:1",
        "new_image": "llm:2",
        "mode": "in place", "stage": "kept", "outcome": "kept", "reason": "every criterion was met",
    }  # fmt: skip
    assert len(upgrade_table({"upgrades": [row, row], "problems": []}, 10.0, PAINT)) == 3
    assert upgrade_table({"upgrades": [], "problems": []}, 10.0, PAINT) == []


@pytest.mark.parametrize(("text", "found"), [("5%", 0.05), ("0.05", 0.05), (" 50 % ", 0.5), ("0", 0.0)])
def test_shares(text: str, found: float) -> None:
    assert share(text) == pytest.approx(found)


@pytest.mark.parametrize("text", ["", "x", "-1", "2000%", "nan"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        share(text)
