from __future__ import annotations

import time
from typing import Any

import pytest

from aiidpd.api.document import parse
from aiidpd.cli.text import Paint
from aiidpd.incidents.api import IncidentDocument
from aiidpd.incidents.cli_text import incident_lines, incident_table
from tests.documents import as_dict

BEGAN = 1_800_000_000.0
COLUMNS = ["time", "temperature_celsius", "power_watts", "graphics_clock_hertz", "clock_events"]


def incident(**changes: Any) -> dict[str, Any]:
    trigger = {
        "id": 7,
        "time": BEGAN,
        "source": "alerts",
        "kind": "alert.firing",
        "subject": "GPU-0",
        "severity": "error",
        "reason": "GPU 0 is gone",
        "evidence": {},
        "simulated": True,
    }
    rows = [
        [BEGAN + second, 60.0 + second % 3, 200.0, 2.5e9, "hw_thermal_slowdown" if second % 2 else "none"]
        for second in range(-30, 0)
    ]
    gpu = {
        "uuid": "GPU-0",
        "index": 0,
        "name": "card",
        "file": "gpu-0.csv",
        "rows": 30,
        "last_read_at": BEGAN - 1,
        "limits": {"slowdown_celsius": 66.0, "shutdown_celsius": None},
        "processes": [
            {"pid": 1, "name": "py\x1b[2J", "used_memory_bytes": 2.0**30, "container_id": "c" * 64}
        ],
        "columns": COLUMNS,
        "data": rows,
    }
    document = {
        "id": "20270115T080000Z-GpuLost",
        "state": "complete",
        "kind": "GpuLost",
        "reason": "GPU 0 is gone",
        "simulated": True,
        "started_at": BEGAN,
        "last_trigger_at": BEGAN + 12,
        "folder": "/state/incidents/x",
        "triggers": [trigger],
        "events": [trigger],
        "containers": {
            "containers": [
                {"id": "c", "name": "vllm", "image": "i", "state": "running", "health": None, "gpu": True}
            ]
        },
        "requests": {"running": None, "reason": "nobody counts them"},
        "gpus": [gpu],
    }
    return as_dict(parse(IncidentDocument, document | changes))


def test_an_incident_tells_what_happened_what_ran_and_draws_the_curves() -> None:
    lines = incident_lines(incident(), Paint(), width=80)
    text = "\n".join(lines)
    assert lines[0] == "20270115T080000Z-GpuLost  complete  SIMULATED"
    assert "went on for 12 s; 1 trigger\n" in f"{text}\n"
    assert "temperature °C  60 to 62, last 62  slowdown 66\n" in text
    assert "power W  200 to 200" in text
    assert "graphics clock MHz  2500 to 2500" in text
    assert "slowed by: hw_thermal_slowdown in 15 of 30 readings" in text
    assert "container cccccccccccc" in text
    assert "\x1b" not in text  # a name from elsewhere can't steer the terminal
    assert "vllm" in text
    assert "Requests that ran  not known\nnobody counts them" in text
    assert "alert.firing GPU-0: GPU 0 is gone" in text


def test_the_requests_that_ran_are_told_with_their_age_and_drawn() -> None:
    asked = {"name": "vllm\x1b", "measured_at": None, "output_tokens_per_second": None, "error": ""}
    told = asked | {"requests_running": 3, "requests_waiting": 2, "read_at": BEGAN - 2.5}
    ended = asked | {"requests_running": 1, "includes_probe": True, "read_at": BEGAN + 60}
    unknown = asked | {"name": "other", "reason": "other answers 404"}
    document = incident(
        requests={"running": 3, "waiting": 2, "reason": "", "endpoints": [told, unknown]},
        requests_at_end={"running": 1, "endpoints": [ended]},
        requests_track={
            "columns": ["time", "endpoint", "requests_running", "requests_waiting"],
            "data": [[BEGAN + at, "vllm", at % 4, 0] for at in range(-30, 30, 5)]
            + [[BEGAN, "other", None, None]],
        },
    )
    lines = incident_lines(document, Paint(), width=80)
    text = "\n".join(lines)
    assert "Requests that ran  3, 2 waiting\n" in text
    assert "3 running, 2 waiting, read 2.5 s before" in text
    assert "other: -: other answers 404" in text
    assert "at the end  1\n" in text
    assert "1 running (ours among them)" in text
    assert "requests that vllm ran  0 to 3" in text
    assert "requests that other ran" not in text
    assert "\x1b" not in text


def test_a_gpu_that_went_away_says_since_when() -> None:
    rows = [[BEGAN + second, 60.0, None, None, None] for second in range(-30, -11)]
    gpu = incident()["gpus"][0] | {"data": rows, "last_read_at": BEGAN - 12, "processes": None}
    text = "\n".join(incident_lines(incident(gpus=[gpu]), Paint()))
    assert "not read any more from" in text
    assert "processes: not known" in text
    assert "power W" not in text


@pytest.mark.parametrize("rows", [[], [[BEGAN, None, None, None, None]]])
def test_an_incident_without_figures_is_told_all_the_same(rows: list[Any]) -> None:
    gpu = incident()["gpus"][0] | {"data": rows, "index": None, "last_read_at": None}
    assert incident_lines(incident(gpus=[gpu]), Paint())


def test_the_table_tells_each_in_a_line() -> None:
    broken = {"id": "20270115T080000Z-x", "state": "broken", "reason": "no JSON", "bytes": 0}
    known = [incident(), as_dict(parse(IncidentDocument, broken))]
    lines = incident_table(known, BEGAN + 120, Paint())
    assert len(lines) == 3
    assert "2 min ago" in lines[1]
    assert "broken" in lines[2]
    assert incident_table([], time.time(), Paint()) == []


def test_what_was_collected_before_a_heal_is_shown_with_its_files() -> None:
    heal = {
        "container": "vl\x1b[2Jlm",
        "id": "c" * 64,
        "fault": "engine_hung",
        "reason": "no step for 90 s",
        "evidence": {},
        "collected_at": BEGAN,
        "state": "running",
        "health_checks": [{"ended_at": "x", "exit_code": 1, "output": "timed out"}],
        "failure": {
            "name": "gpu_memory",
            "title": "the GPU is full",
            "remedy": "make room",
            "line": "CUDA OOM",
        },
        "engine": {"name": "chat", "verdict": "hung", "requests_running": 3, "requests_waiting": None},
        "log_lines": 500,
        "log_file": "log-vllm.txt",
        "inspect_file": "",
        "missing": {"inspect": "the runtime did not answer within 2 s"},
    }
    text = "\n".join(incident_lines(incident(heals=[heal]), Paint()))
    assert "\x1b" not in text
    for words in (
        *("Before the heal of", "engine_hung: no step for 90 s", "the GPU is full: CUDA OOM", "make room"),
        *("health check, exit code 1: timed out", "engine chat: hung, 3 running, 0 waiting"),
        "last 500 lines of its log: /state/incidents/x/log-vllm.txt",
        "not known: inspect: the runtime did not answer within 2 s",
    ):
        assert words in text, words
    assert "its description" not in text
