"""One load from its request to its report, beside a daemon that is scripted."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio.to_thread
import pytest

from aiidpd.api.client import ControlClient, DaemonUnreachable
from aiidpd.cli.text import Paint
from aiidpd.components.bench.accept.machine import Given
from aiidpd.components.bench.load.ceiling import Ceiling
from aiidpd.components.bench.load.plan import Plan
from aiidpd.components.bench.load.report import LoadReport
from aiidpd.components.bench.load.report_text import csv_text, markdown, plot, text_lines
from aiidpd.components.bench.load.runner import LoadRequest, run_load
from tests.fakes.inference import InferenceServer, steady
from tests.fakes.scripted_daemon import Scripted

BUSY = {"uuid": "GPU-1", "name": "a", "utilisation_ratio": 0.9}
GIVEN = Given(weights=2e9, bandwidth=200e9)


class Daemon(Scripted):
    """A daemon that lists one endpoint, too."""

    endpoint: Mapping[str, Any]

    def get(self, path: str, **query: Any) -> Any:
        if path == "/v1/bench/results":
            return {"endpoints": [self.endpoint]}
        return super().get(path, **query)


def daemon(url: str, *events: dict[str, Any]) -> Daemon:
    found = Daemon(BUSY, events=events)
    engine = {"requests_running": 3, "includes_probe": False}
    found.endpoint = {"name": "local", "url": f"{url}/", "model": "m", "simulated": False, "engine": engine}
    return found


async def ran(connect: Any, **more: Any) -> LoadReport:
    async with InferenceServer(steady(8, first=0.05, each=0.02), models=[{"id": "tiny"}]) as server:
        plan = Plan(server.url, "batch", 3.5, 0.0, 10.0, users=2)
        asked = LoadRequest(replace(plan, **more), GIVEN, connect and (lambda: connect(server.url)))
        return await anyio.to_thread.run_sync(run_load, asked, lambda _line: None)


async def test_the_daemon_shows_what_else_was_so():
    report = await ran(daemon)
    assert report.gpu_utilization == pytest.approx(0.9)
    assert report.out_of_memory == 0
    assert report.notes[0].startswith("others had 3 requests at this engine")
    assert "the daemon measures it too, as local" in report.notes[1]
    assert "busy for 90 % of the time" in "\n".join(text_lines(report, Paint()))


async def test_a_process_that_ran_out_of_memory_is_no_good_result():
    report = await ran(lambda url: daemon(url, {"kind": "container.oom_killed"}))
    assert report.outcome == "1 processes ended for lack of memory: see aiidpctl events"


class Nobody(ControlClient):
    """A client of a daemon that does not run."""

    def __init__(self) -> None:
        super().__init__("/nonexistent/control.sock")


async def test_without_a_daemon_it_works_as_well():
    report = await ran(lambda _url: Nobody())
    assert (report.gpu_utilization, report.out_of_memory) == (None, None)
    assert report.levels[0]["figures"]["answered"] > 5
    with pytest.raises(DaemonUnreachable):
        Nobody().get("/v1/gpus")


async def test_an_output_above_a_certain_ceiling_is_none_in_every_form():
    report = replace(await ran(None), ceilings=())
    value = report.levels[0]["figures"]["output_tokens_per_second"]
    slow = replace(report, ceilings=(Ceiling(2, value / 2, "made up", certain=True),))
    assert report.output(0) == (value, "")
    assert slow.output(0)[0] is None
    assert slow.document()["levels"][0]["figures"]["output_tokens_per_second"] is None
    (row,) = csv.DictReader(csv_text(slow).splitlines())
    assert row["output_tokens_per_second"] == ""
    assert "allow: weights or memory are not what was given" in markdown(slow)
    assert 'class="dot c"' not in plot(slow)
    assert 'class="dot c"' in plot(report)
    json.dumps(slow.document())


async def test_words_of_a_server_steer_no_terminal_and_break_no_table():
    report = await ran(None)
    level = {**report.levels[0]}
    level["figures"] = {
        **level["figures"],
        "faults": {"refused": 2},
        "reasons": {"refused": "\x1b[31m| <b>`x`\n"},
    }
    hostile = replace(report, found={**report.found, "levels": [level]})
    text = "\n".join(text_lines(hostile, Paint(False, 60)))
    assert "\x1b" not in text
    assert all(len(line) <= 60 for line in text.splitlines())
    assert "\\| &lt;b>'x'" in markdown(hostile)
