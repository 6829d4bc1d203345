"""GPUs and memory under load, by a daemon that is scripted."""

from __future__ import annotations

from typing import Any

import pytest

from aiidpd.api.client import ControlClient, DaemonUnreachable
from aiidpd.components.bench.accept.verdict import Measured
from aiidpd.components.bench.accept.watching import LoadWatch, others
from tests.fakes.scripted_daemon import Scripted
from tests.waiting import until

BUSY = {"uuid": "GPU-1", "utilisation_ratio": 0.9}
CALM = {"uuid": "GPU-2", "utilisation_ratio": 0.1}


def watched(daemon: Scripted, readings: int = 5) -> LoadWatch:
    watch = LoadWatch(lambda: daemon, every=0.001)
    watch.start()
    until(lambda: daemon.readings >= readings)
    watch.stop()
    watch.stop()
    return watch


def test_the_gpu_that_is_used_most_counts():
    daemon = Scripted(BUSY, CALM)
    assert watched(daemon).utilization().value == pytest.approx(0.9)
    assert daemon.queries[0]["kind"] == "container."


def test_what_ran_out_of_memory_is_counted():
    events = (
        {"kind": "container.oom_killed"},
        {"kind": "container.failure_named", "evidence": {"failure": "gpu_memory"}},
        {"kind": "container.failure_named", "evidence": {"failure": "port_taken"}},
        {"kind": "container.started"},
        {"kind": "container.oom_killed", "simulated": True},
    )
    assert watched(Scripted(BUSY, events=events)).out_of_memory().value == 2
    assert watched(Scripted(BUSY)).out_of_memory().value == 0


def test_what_is_not_there_is_not_measured():
    assert watched(Scripted()).utilization().reason == "the daemon shows no GPU"
    assert "simulated" in watched(Scripted(BUSY, simulated=True)).utilization().reason
    assert LoadWatch(Scripted).utilization() == Measured(reason="no load ran")
    assert LoadWatch(Scripted).out_of_memory() == Measured(reason="no load ran")


def test_a_load_that_was_over_at_once_says_so():
    daemon = Scripted(BUSY)
    watch = LoadWatch(lambda: daemon, every=60)
    watch.start()
    watch.stop()
    assert "fewer than 3 readings" in watch.utilization().reason


@pytest.mark.parametrize(
    ("engine", "noted"),
    [
        ({"requests_running": 3, "includes_probe": False}, True),
        ({"requests_running": 1, "includes_probe": True}, False),
        ({"requests_running": None, "includes_probe": False}, False),
        (None, False),
    ],
)
def test_requests_of_others_are_noted(engine: dict[str, Any] | None, noted: bool):
    daemon = Scripted()
    daemon.events = {"endpoints": [{"url": "http://x:1/", "engine": engine}]}
    found = others(daemon, "http://x:1")
    assert ("others had 3 requests" in "".join(found)) is noted
    assert others(daemon, "http://x:2") == ()


def test_without_a_daemon_it_says_so():
    def nowhere() -> ControlClient:
        raise DaemonUnreachable("nobody answers")

    watch = LoadWatch(nowhere)
    watch.start()
    watch.stop()
    assert watch.utilization().reason == "the daemon does not show it: nobody answers"
    assert watch.out_of_memory().reason == "the daemon does not show it: nobody answers"
