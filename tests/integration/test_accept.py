"""Acceptance of real servers: llama.cpp, and one that knows when it wrote each token."""

from __future__ import annotations

import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.bench.accept.profile_text import parse_profile
from aiidpd.components.bench.accept.report import Report
from aiidpd.components.bench.accept.runner import AcceptanceRequest, accept
from aiidpd.components.bench.accept.server import exchange
from aiidpd.components.bench.accept.verdict import Outcome
from aiidpd.engines.chat import Form
from tests.fakes import llama, tokens
from tests.fakes.shared_servers import shared_llama, shared_tokens
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/bench.md").read_text()
SHOWN = re.findall(r"^\$ ((?:aiidpctl bench accept|pytest) .*)$", PAGE, re.MULTILINE)
QUICK = """
name = "own"
[requests]
warm_up = 1
count = 20
prompt = "32 tokens"
answer = "{tokens} tokens"
[concurrency]
streams = {streams}
answer = "{tokens} tokens"
"""
PLUGIN = "aiidpd.components.bench.accept.pytest_plugin"
ATTEMPTS = 5
CLOSE = 0.005  # seconds


def criterion(name: str, figure: str, bound: str) -> str:
    return f"[[criteria]]\nname = '{name}'\nfigure = '{figure}'\n{bound}\n"


ALL = (
    criterion("first", "ttft_p50", "below = '20 s'")
    + criterion("late", "ttft_p95", "below = '30 s'")
    + criterion("speed", "tokens_per_second", "above = '1 tok/s'")
    + criterion("together", "concurrent_success", "at_least = '95 %'")
    + criterion("errors", "error_rate", "at_most = '0 %'")
)


def quiet(_words: str) -> None:
    """Nobody follows."""


def undisturbed(asked: AcceptanceRequest) -> Report:
    """Return the report of a try in which this machine was not late to read what a fast engine sent."""
    for _ in range(ATTEMPTS):
        report = accept(asked, quiet)
        if not any("this process was late" in each.reason for each in report.figures.values()):
            break
    return report


server = shared_llama()


truth = shared_tokens()


@pytest.mark.real("llama")
def test_a_real_engine_is_accepted_and_known_by_its_name(server: llama.LlamaServer):
    question = "[[answers]]\nprompt = 'Say it.'\nequals = '{answer}'\n"
    body = {"temperature": 0, "max_tokens": 64, "messages": [{"role": "user", "content": "Say it."}]}
    answered: Any = exchange(server.url, Form.CHAT, "", PATIENCE, json.dumps(body).encode())
    text = answered["choices"][0]["message"]["content"].strip()
    profile = QUICK.format(tokens=64, streams=4) + ALL
    profile += criterion("answers", "exact_answers", "at_least = '100 %'")
    profile += question.replace("'{answer}'", json.dumps(text))
    report = undisturbed(AcceptanceRequest(server.url, profile))
    assert report.accepted, report.document()
    assert report.engine == "llama.cpp"
    assert {each.outcome for each in report.verdicts} == {Outcome.PASSED}
    wrong = undisturbed(AcceptanceRequest(server.url, profile.replace(json.dumps(text), "'something else'")))
    assert [each.criterion.name for each in wrong.verdicts if not each.good] == ["answers"]


@pytest.mark.real("llama")
def test_a_fast_engine_is_asked_for_more_tokens(server: llama.LlamaServer):
    report = undisturbed(AcceptanceRequest(server.url, QUICK.format(tokens=4, streams=1) + ALL))
    speed = report.figures["tokens_per_second"]
    assert speed.value is not None, speed.reason


@pytest.mark.real("llama")
def test_what_the_context_can_t_hold_fails_with_the_server_s_words(server: llama.LlamaServer):
    profile = QUICK.format(tokens=8, streams=2).replace("32 tokens", "9000 tokens") + ALL
    report = accept(AcceptanceRequest(server.url, profile), quiet)
    assert not report.accepted
    first = next(each for each in report.verdicts if each.criterion.name == "first")
    assert first.outcome is Outcome.NOT_MEASURED
    assert "it answers 400" in first.reason
    assert "context" in first.reason


@pytest.mark.real("gcc")
def test_its_figures_are_those_of_the_server(truth: tokens.TokenServer):
    for _ in range(ATTEMPTS):
        truth.answers()
        url = truth.url(first=0.03, gap=0.005, tokens=32)
        report = accept(AcceptanceRequest(url, QUICK.format(tokens=32, streams=32) + ALL, model="m"), quiet)
        logged = [each for each in truth.answers() if len(each.sent) == 32]
        theirs = statistics.median(each.sent[0] - each.received for each in logged)
        pace = statistics.median((each.sent[-1] - each.sent[0]) / 31 for each in logged)
        ours, speed = report.figures["ttft_p50"].value, report.figures["tokens_per_second"].value
        if ours and speed and abs(ours - theirs) < CLOSE and abs(speed * pace - 1) < 0.05:
            break  # else the machine held up the one or the other meanwhile
    assert ours is not None, report.figures["ttft_p50"].reason
    assert speed is not None, report.figures["tokens_per_second"].reason
    print(  # noqa: T201 -- pytest -s shows the figures
        f"first token: ours {ours * 1e3:.2f} ms, the server's {theirs * 1e3:.2f} ms; "
        f"pace: ours {1e3 / speed:.3f} ms, the server's {pace * 1e3:.3f} ms"
    )
    assert abs(ours - theirs) < CLOSE
    assert abs(speed * pace - 1) < 0.05
    assert report.figures["concurrent_success"].value == 1
    assert report.figures["concurrent_success"].samples == 32
    assert len(logged) >= 20 + 32


@pytest.mark.real("gcc")
def test_a_load_goes_on_for_as_long_as_it_says(truth: tokens.TokenServer):
    profile = QUICK.format(tokens=32, streams=4) + "[load]\nduration = '1 s'\n" + ALL
    report = accept(AcceptanceRequest(truth.url(first=0.03, gap=0.005, tokens=32), profile, model="m"), quiet)
    together = report.figures["concurrent_success"]
    assert together.value == 1
    assert together.samples >= 8
    assert report.seconds >= 1


def test_the_page_shows_commands_and_a_profile_that_can_be_read():
    assert len(SHOWN) >= 4
    (profile,) = re.findall(r"```\n(name = .*?)```", PAGE, re.DOTALL)
    assert parse_profile(profile).name == "own"


@pytest.mark.real("llama")
@pytest.mark.parametrize("command", SHOWN)
def test_a_command_that_the_page_shows_works(server: llama.LlamaServer, tmp_path: Path, command: str):
    words = shlex.split(command.replace("http://127.0.0.1:8000", server.url))
    module = "aiidpd.cli" if words[0] == "aiidpctl" else "pytest"
    more = ("-p", PLUGIN, "-p", "no:cacheprovider") if module == "pytest" else ()
    ran = subprocess.run(
        [sys.executable, "-m", module, *more, *words[1:]],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "COLUMNS": "80",
            "AIIDPCTL_SOCKET": "/absent",
        },
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    # A tiny model on a machine that has others to serve is as fast as it is: what it shows is what counts.
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    if module == "pytest":
        assert "collected 4 items" in ran.stdout
        return
    assert re.search(r"^(not )?accepted: .* requests in", ran.stdout, re.MULTILINE | re.DOTALL), ran.stdout
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    if "--junit" in words:
        assert len(ET.parse(tmp_path / "accept.xml").getroot().findall("testcase")) == 4
        assert (tmp_path / "accept.md").read_text().startswith("# default: ")
