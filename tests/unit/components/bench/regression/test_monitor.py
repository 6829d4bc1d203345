"""The monitor with a real state file: events, condition, what it remembers, a new baseline on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiidpd.components.bench.regression.metrics import RegressionCollector
from aiidpd.components.bench.regression.record import FILE
from aiidpd.kernel.errors import Conflict, Invalid, NotFound
from aiidpd.kernel.events import Severity
from bench.regression import INTERVAL
from tests.unit.components.bench.regression.monitored import QUIET, SLOW, Room


async def test_a_shift_is_one_event_and_a_condition_that_says_what_changed(room: Room):
    await room.probe(*QUIET)
    assert (room.kinds(), room.active()) == ([], {})
    room.known = {"image": "vllm:2"}
    await room.probe(*SLOW)
    assert room.kinds() == ["bench.regressed"]
    (event,) = [each for each in room.events if each.kind == "bench.regressed"]
    assert event.severity is Severity.WARNING
    assert event.evidence["figure"] == "output_tokens_per_second"
    assert event.evidence["changed.image"] == "vllm:1 -> vllm:2"
    assert event.evidence["onset"] == pytest.approx(room.clock.time() - 11 * INTERVAL, abs=3 * INTERVAL)
    (_, track) = room.monitor.tracks()[0]
    assert track is not None
    shift = track.figures["output_tokens_per_second"].shift
    assert shift is not None
    assert abs(shift.onset - (room.clock.time() - 11 * INTERVAL)) <= INTERVAL  # by then it is known better
    reason = room.active()["bench_regressed"]
    assert "output tokens/s" in reason
    assert "below the baseline" in reason
    assert "confidence 99.9 %" in reason
    assert "image from vllm:1 to vllm:2" in reason
    (condition,) = room.conditions.active()
    assert condition.subject == "local"
    assert "aiidpctl bench rebaseline local --reason" in condition.remedy


async def test_figures_that_are_back_end_the_condition(room: Room):
    await room.probe(*QUIET, *SLOW)
    assert "bench_regressed" in room.active()
    await room.probe(*QUIET[:12])
    assert room.kinds() == ["bench.regressed", "bench.back"]
    assert room.active() == {}


async def test_a_restart_forgets_neither_the_baseline_nor_the_alarm(room: Room, tmp_path: Path):
    await room.probe(*QUIET, *SLOW)
    room.monitor.close(5)
    again = Room(tmp_path, room.clock)
    await again.begin()
    assert again.active() == room.active()
    again.view = room.view
    await again.probe(*SLOW)
    assert again.kinds() == []  # announced once
    await again.probe(*QUIET[:12])
    assert again.active() == {}


async def test_a_new_baseline_is_a_persons_will_with_a_reason(room: Room):
    await room.probe(*QUIET, *SLOW)
    room.monitor.rebaseline("local", None, "a larger model card", "uid 0")
    assert room.active() == {}
    assert room.kinds() == ["bench.regressed", "bench.rebaselined"]
    event = next(each for each in room.events if each.kind == "bench.rebaselined")
    assert "a larger model card" in event.reason
    assert event.evidence["by"] == "uid 0"
    await room.probe(*(0.9 * each for each in QUIET))
    assert room.active() == {}


async def test_what_is_not_there_has_no_baseline(room: Room):
    with pytest.raises(NotFound, match="known are: local"):
        room.monitor.rebaseline("other", None, "why", "uid 0")
    with pytest.raises(Conflict, match="no probe of it was good yet"):
        room.monitor.rebaseline("local", None, "why", "uid 0")


async def test_without_a_reason_there_is_no_new_baseline(room: Room):
    await room.probe(*QUIET)
    with pytest.raises(Invalid, match="no reason was given"):
        room.monitor.rebaseline("local", None, " ", "uid 0")


async def test_another_gpu_is_another_baseline_and_ends_the_condition(room: Room):
    await room.probe(*QUIET, *SLOW)
    room.gpu = "L4"
    await room.probe(20.0)
    assert room.active() == {}
    (_, track) = room.monitor.tracks()[0]
    assert track is not None
    assert (track.gpu, track.figures["output_tokens_per_second"].status) == ("L4", "learning")


async def test_an_endpoint_that_is_no_longer_configured_has_no_condition(room: Room):
    await room.probe(*QUIET, *SLOW)
    await room.monitor.begin(())
    assert room.active() == {}


async def test_failed_probes_and_withheld_figures_are_no_samples(room: Room):
    room.monitor.measured(room.view.failed("refused", 1.0, 1.0))
    assert room.monitor.tracks() == [(room.view, None)]
    await room.probe(None)
    (_, track) = room.monitor.tracks()[0]
    assert track is not None
    assert track.figures["output_tokens_per_second"].recent == ()
    assert len(track.figures["ttft_seconds"].recent) == 1


async def test_a_state_file_that_cannot_be_read_is_set_aside_and_said(tmp_path: Path):
    (tmp_path / FILE).write_text("{")
    room = Room(tmp_path)
    await room.begin()
    assert "bench_baselines_state" in room.active()
    assert (tmp_path / f"{FILE}.unreadable").exists()
    await room.probe(80.0)
    room.monitor.close(5)
    assert room.active() == {}
    assert json.loads((tmp_path / FILE).read_text())["version"] == 1


async def test_metrics_show_the_ratio_to_the_baseline(room: Room):
    await room.probe(*QUIET, *SLOW)
    found = {
        (sample.name, sample.labels["figure"]): sample.value
        for family in RegressionCollector(room.monitor).collect()
        for sample in family.samples
    }
    speed = "output_tokens_per_second"
    assert found["aiidpd_bench_baseline", speed] == pytest.approx(80, rel=0.01)
    assert found["aiidpd_bench_baseline_ratio", speed] == pytest.approx(0.9, abs=0.02)
    assert found["aiidpd_bench_regressed", speed] == 1
    assert found["aiidpd_bench_regressed", "ttft_seconds"] == 0
    assert found["aiidpd_bench_baseline_samples", speed] > 100
