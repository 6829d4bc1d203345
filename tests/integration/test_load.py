"""Load on real servers: llama.cpp, and one that knows when it wrote each token."""

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

from tests.fakes import llama, tokens
from tests.fakes.shared_servers import shared_llama, shared_tokens
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/bench.md").read_text()
SHOWN = re.findall(r"^\$ (aiidpctl bench load .*)$", PAGE, re.MULTILINE)
ATTEMPTS = 5
SHORT = "--duration 2s --warm-up 0 --timeout 30s"


server = shared_llama()


truth = shared_tokens()


def loaded(target: str, options: str, *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = ["bench", "load", "--target", target, *shlex.split(options)]
    return subprocess.run(
        [sys.executable, "-m", "aiidpd.cli", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "AIIDPCTL_SOCKET": "/absent"},
        capture_output=True,
        text=True,
        timeout=8 * PATIENCE,
        check=False,
    )


def measured(target: str, options: str) -> dict[str, Any]:
    ran = loaded(target, f"--json {options}")
    assert ran.stdout, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    assert not found["problem"], found["problem"]
    return found


def figures(target: str, options: str) -> dict[str, Any]:
    found: dict[str, Any] = measured(target, options)["levels"][0]["figures"]
    return found


def logged(truth: tokens.TokenServer) -> list[tokens.Answer]:
    return [each for each in truth.answers() if len(each.sent) == 32]


@pytest.mark.real("gcc")
@pytest.mark.parametrize("level", ["--users 16 --workload batch", "--rate 15 --workload batch"])
def test_figures_under_load_are_those_of_the_server(truth: tokens.TokenServer, level: str):
    url = truth.url(first=0.2, gap=0.02, tokens=32)
    for _ in range(ATTEMPTS):
        truth.answers()
        found = figures(url, f"--model m {level} --duration 4s --warm-up 1s --timeout 30s")
        log = logged(truth)
        first = statistics.median(each.sent[0] - each.received for each in log)
        pace = statistics.median((each.sent[-1] - each.sent[0]) / 31 for each in log)
        errors = (found["ttft"]["p50"] - first, found["tpot"]["p50"] - pace)
        if abs(errors[0]) < 0.03 * first and abs(errors[1]) < 1e-4:
            break  # else the machine held up the one or the other meanwhile
    print(f"{level}: TTFT {errors[0] * 1e3:+.2f} ms, TPOT {errors[1] * 1e3:+.4f} ms")  # noqa: T201 -- with -s
    assert abs(errors[0]) < 0.03 * first
    assert abs(errors[1]) < 1e-4
    assert found["answered"] == found["requests"] > 20
    assert found["faults"] == {}


@pytest.mark.real("gcc")
def test_output_is_what_the_server_sent_within_the_time(truth: tokens.TokenServer):
    """16 users, of which each has 32 tokens in 0.2 s and 31 times 20 ms: 0.82 s."""
    url = truth.url(first=0.2, gap=0.02, tokens=32)
    for _ in range(ATTEMPTS):
        found = figures(url, "--model m --users 16 --workload batch --duration 5s --warm-up 1s")
        output = found["output_tokens_per_second"]
        if abs(output / (16 * 32 / 0.82) - 1) < 0.05:
            return
    pytest.fail(f"{output} tok/s")


@pytest.mark.real("gcc")
def test_a_ramp_on_a_server_without_a_knee_goes_to_its_end(truth: tokens.TokenServer, tmp_path: Path):
    url = truth.url(first=0.05, gap=0.01, tokens=32)
    ran = loaded(
        url, f"--model m --ramp --most 8 --workload batch {SHORT} --plot r.svg --csv r.csv", folder=tmp_path
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    assert "8 users" in ran.stdout
    assert ET.parse(tmp_path / "r.svg").getroot().tag.endswith("svg")
    assert len((tmp_path / "r.csv").read_text().splitlines()) >= 5


@pytest.mark.real("llama")
def test_too_many_arrivals_for_a_real_engine_end_the_load(tmp_path: Path, server: llama.LlamaServer):
    """It has a server of its own, which goes on with what it was sent."""
    with llama.running(tmp_path) as own:
        assert own.port != server.port
        found = measured(own.url, "--rate 60 --workload batch --duration 30s --warm-up 0")
    (level,) = found["levels"]
    assert level["saturated"], level
    assert level["figures"]["seconds"] < 30
    assert level["figures"]["faults"].keys() <= {"refused"}  # what is beyond its context


@pytest.mark.real("llama")
@pytest.mark.parametrize("workload", ["chat", "code", "seed", "seed-llama"])
def test_a_real_engine_serves_the_workload(server: llama.LlamaServer, workload: str):
    found = figures(server.url, f"--users 3 --workload {workload} --duration 4s --warm-up 0 --timeout 30s")
    assert found["answered"] > 0
    assert found["faults"].keys() <= {"refused"}
    assert found["output_tokens_per_second"] > 0


@pytest.mark.real("llama")
def test_a_soak_comes_to_the_end_of_the_context_and_says_so(server: llama.LlamaServer):
    """Its 8192 tokens are full after some turns; what then happens is what a soak is for."""
    for seconds in (8, 30, 60):
        found = figures(
            server.url, f"--users 1 --workload soak --duration {seconds}s --warm-up 0 --timeout 30s"
        )
        if found["faults"]:
            break
    assert set(found["faults"]) == {"refused"}
    assert "exceeds the available context size" in found["reasons"]["refused"]
    assert found["cached_share"] > 0.5


@pytest.mark.real("llama")
def test_depths_of_a_real_engine_are_slower_the_deeper(server: llama.LlamaServer):
    for _ in range(ATTEMPTS):
        rows = measured(server.url, "--depths 0,2k,6k,64k")["depths"]
        assert [row["depth"] for row in rows] == [0, 2048, 6144, 65536]
        assert "context" in rows[-1]["reason"]
        speeds = [row["output_tokens_per_second"] for row in rows[:3]]
        if all(speeds) and speeds == sorted(speeds, reverse=True):
            break
    assert speeds == sorted(speeds, reverse=True)
    for row in rows[:3]:
        assert row["prompt_tokens"] == pytest.approx(row["depth"] + 600, rel=0.2)
        assert row["read"] < 1200  # the depth itself is in the cache


def test_the_page_shows_commands():
    assert len(SHOWN) >= 5


@pytest.mark.real("llama")
@pytest.mark.parametrize("command", SHOWN)
def test_a_command_that_the_page_shows_works(server: llama.LlamaServer, tmp_path: Path, command: str):
    words = shlex.split(command.replace("http://127.0.0.1:8000", server.url))[3:]
    if "--list" not in words:
        words = [*words[2:], "--duration", "1s", "--warm-up", "0", "--timeout", "20s", "--most", "2"]
        ran = loaded(server.url, shlex.join(words), folder=tmp_path)
    else:
        ran = subprocess.run(
            [sys.executable, "-m", "aiidpd.cli", "bench", "load", "--list"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    # A tiny model on a machine that has others to serve is as fast as it is: what it shows is what counts.
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    assert ran.stdout
    for option, opening in (("--plot", "<?xml"), ("--markdown", "# "), ("--csv", "load,")):
        if option in words:
            assert (tmp_path / words[words.index(option) + 1]).read_text().startswith(opening)
