"""Faults of engines that serve all the same: each begins and ends after a while, with its evidence alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.engines.liveness.decide import begin
from aiidpd.components.engines.liveness.decide import step as live_step
from aiidpd.components.engines.liveness.history import EngineHistory
from aiidpd.components.engines.liveness.observation import GpuActivity, gpu_activity, wants_gpu
from aiidpd.components.engines.liveness.silent import (
    CLEAR_SECONDS,
    Dwell,
    FaultKind,
    SilentState,
    dwell,
    faults,
    step,
)
from aiidpd.components.engines.liveness.state import LivenessState
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.containers import ContainerSummary
from aiidpd.contracts.gpus import GpuMemoryUse, GpusView, GpuUse
from tests.unit.components.engines.liveness.seen import ID, Scene

GIB = 1 << 30


class Watch:
    """A scene whose silent faults are watched, once a second."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.now, self.own = scene, 0.0, 0
        self.live: LivenessState | None = None
        self.state = SilentState()

    def seconds(self, number: int, **engine: Any) -> set[FaultKind]:
        self.scene.engine |= engine
        for _ in range(number):
            self.now += 1.0
            seen = self.scene.at(self.now)
            live = begin(EngineHistory(), seen) if self.live is None else self.live
            self.live, _ = live_step(live, seen, LivenessSettings())
            self.state = step(self.state, self.live, seen, self.own)
        return {each.kind for each in faults(self.state)}

    def reason(self) -> str:
        return " ".join(each.reason for each in faults(self.state))


def on_cpu() -> Watch:
    scene = Scene(requests_running=1, steps=1)
    scene.container["gpu"] = True
    scene.gpu = None  # no process of its own holds memory of one
    scene.cores = 3.0
    return Watch(scene)


def test_an_engine_that_computes_on_the_cpu_though_it_was_given_a_gpu() -> None:
    watch = on_cpu()
    assert watch.seconds(100) == set()
    assert watch.seconds(60) == {FaultKind.ON_CPU}
    assert "none of its 1 processes holds memory of one, and they use 3.0 cores" in watch.reason()
    watch.scene.cores = 0.01  # idle: neither is known
    assert watch.seconds(600) == {FaultKind.ON_CPU}
    watch.scene.gpu = 0.9
    assert watch.seconds(50) == {FaultKind.ON_CPU}
    assert watch.seconds(20) == set()


@pytest.mark.parametrize("change", [{"gpu_known": False}, {"cores": 0.1}, {"use": False}, {"gpu": 0.1}])
def test_without_all_of_the_evidence_it_is_not_said(change: dict[str, Any]) -> None:
    watch = on_cpu()
    for name, value in change.items():
        setattr(watch.scene, name, value)
    assert watch.seconds(600) == set()


def test_an_engine_that_wants_no_gpu_may_use_the_cpu() -> None:
    watch = on_cpu()
    watch.scene.container["gpu"] = False
    assert watch.seconds(600) == set()


def test_a_model_that_lies_partly_on_the_cpu_by_the_engine_s_own_figures() -> None:
    watch = Watch(Scene(requests_running=0, steps=1, model_bytes=10 * GIB, model_gpu_bytes=4 * GIB))
    watch.scene.gpu = 0.5
    assert watch.seconds(130) == {FaultKind.ON_CPU}
    assert "only 4.0 of its model's 10.0 GiB" in watch.reason()
    assert watch.seconds(70, model_gpu_bytes=10 * GIB) == set()


def test_a_gpu_that_is_busy_while_no_request_is_known() -> None:
    watch = Watch(Scene(requests_running=0, requests_waiting=0, steps=1))
    watch.scene.gpu = 0.97
    assert watch.seconds(290) == set()
    assert watch.seconds(20) == {FaultKind.GHOST_LOAD}
    assert "GPU 0 is at 97 % (60 W)" in watch.reason()
    assert watch.seconds(70, requests_running=1) == set()


@pytest.mark.parametrize(
    "change", [{"gpu": 0.1}, {"seen": {"probing": True}}, {"gpu_known": False}, {"answers": False}]
)
def test_what_may_have_another_reason_is_no_ghost(change: dict[str, Any]) -> None:
    watch = Watch(Scene(requests_running=0, steps=1))
    watch.scene.gpu = 0.97
    watch.seconds(1)
    for name, value in change.items():
        setattr(watch.scene, name, value)
    assert FaultKind.GHOST_LOAD not in watch.seconds(900)


def test_requests_of_one_s_own_are_no_ghosts() -> None:
    watch = Watch(Scene(requests_running=0, steps=1, includes_probe=True))
    watch.scene.gpu = 0.97
    assert watch.seconds(900) == set()


def answers(watch: Watch, finished: int, cut: int, own: int = 0) -> set[FaultKind]:
    engine = watch.scene.engine
    watch.own += own
    return watch.seconds(
        3700,
        requests_finished=engine.get("requests_finished", 0) + finished,
        requests_cut=engine.get("requests_cut", 0) + cut,
    )


def test_answers_that_are_cut_by_their_length() -> None:
    watch = Watch(Scene(requests_running=0, steps=1, requests_finished=1000, requests_cut=900))
    watch.seconds(1)  # what was before says nothing of now
    assert answers(watch, 100, 5) == set()
    assert answers(watch, 100, 30) == {FaultKind.ANSWERS_CUT}
    assert "30 % of its last 100 answers were cut" in watch.reason()
    assert answers(watch, 100, 15) == {FaultKind.ANSWERS_CUT}
    assert answers(watch, 100, 5) == set()


def test_the_answers_to_our_own_requests_do_not_count() -> None:
    watch = Watch(Scene(requests_running=0, steps=1, requests_finished=0, requests_cut=0))
    watch.seconds(1)
    assert answers(watch, 100, 20, own=20) == set()
    assert answers(watch, 40, 40, own=20) == set()  # too few of others


def test_counters_that_went_back_begin_anew() -> None:
    watch = Watch(Scene(requests_running=0, steps=1, requests_finished=1000, requests_cut=900))
    watch.seconds(1)
    assert watch.seconds(4000, requests_finished=100, requests_cut=90) == set()


@given(st.lists(st.tuples(st.sampled_from((True, False, None)), st.integers(1, 400)), max_size=30))
def test_a_dwell_needs_its_time_in_both_directions(parts: list[tuple[bool | None, int]]) -> None:
    now, state, same = 0.0, Dwell(), 0.0
    for holds, seconds in parts:
        for _ in range(seconds):
            now += 1.0
            before = state
            state = dwell(state, holds=holds, now=now, seconds=120.0)
            if holds is not None:
                same = same + 1.0 if holds is not before.active else 0.0
            if state.active is not before.active:
                assert holds is state.active
                assert same >= min(CLEAR_SECONDS, 120.0) or before.since is not None
                same = 0.0


@pytest.mark.parametrize(
    ("arguments", "environment", "wanted"),
    [
        (("llama-server", "-ngl", "99"), {}, True),
        (("llama-server", "--n-gpu-layers=20"), {}, True),
        (("llama-server", "--gpu-layers", "0"), {}, False),
        (("llama-server", "-ngl"), {}, False),
        (("llama-server",), {"LLAMA_ARG_N_GPU_LAYERS": "99"}, True),
        (("llama-server", "-m", "x"), {}, False),
    ],
)
def test_arguments_that_want_a_gpu(
    arguments: tuple[str, ...], environment: dict[str, str], *, wanted: bool
) -> None:
    container = ContainerSummary(
        ID, "a", "b", "running", None, False, True, arguments=arguments, environment=environment
    )
    assert wants_gpu(container) is wanted
    assert wants_gpu(None) is None


def test_the_gpus_of_a_container_are_those_on_which_its_processes_hold_memory() -> None:
    own, other = GpuMemoryUse(10, None, 5.0), GpuMemoryUse(99, "d" * 64, 7.0)
    by_id = GpuMemoryUse(98, ID, 3.0)
    cards = (
        GpuUse(0, "GPU-0", "card", 0.2, processes=(own, other)),
        GpuUse(1, "GPU-1", "card", 0.7, processes=(by_id,)),
        GpuUse(2, "GPU-2", "card", 1.0, processes=(other,)),
    )
    found = gpu_activity(ID, (10,), GpusView(cards))
    assert found == GpuActivity(cards[:2], 0.7, 8.0, shared=True)
    assert gpu_activity("e" * 64, (), GpusView(cards)) == GpuActivity()
    assert gpu_activity(ID, (10,), None) is None
    assert gpu_activity(ID, (10,), GpusView()) is None
    assert gpu_activity(ID, (10,), GpusView((GpuUse(0, "GPU-0", "card", 0.2),))) is None
