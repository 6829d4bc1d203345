"""Verdicts on engines, by table and by property."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.engines.liveness.decide import begin, step
from aiidpd.components.engines.liveness.history import ENOUGH_GAPS, EngineHistory, Gap, with_gap
from aiidpd.components.engines.liveness.state import LivenessState, Outcome
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.engines import Residency, Verdict
from tests.forms import examples
from tests.unit.components.engines.liveness.seen import START, Scene

SETTINGS = LivenessSettings()
RUNS = {"requests_running": 2, "requests_waiting": 0}


class Watch:
    """A scene that is observed once a second."""

    def __init__(self, scene: Scene, history: EngineHistory | None = None) -> None:
        self.scene, self.now = scene, 0.0
        self.state: LivenessState | None = None
        self.history = history or EngineHistory()
        self.outcomes: list[Outcome] = []

    def seconds(self, number: float, **engine: Any) -> Outcome:
        """Observe for ``number`` seconds, with ``steps`` a second where it says so."""
        rate = engine.pop("rate", 0)
        self.scene.engine |= engine
        for _ in range(int(number)):
            self.now += 1.0
            if rate:
                self.scene.engine["steps"] = self.scene.engine.get("steps", 0) + rate
            seen = self.scene.at(self.now)
            state = begin(self.history, seen) if self.state is None else self.state
            self.state, outcome = step(state, seen, SETTINGS)
            self.outcomes.append(outcome)
        return self.outcomes[-1]

    @property
    def verdict(self) -> Verdict:
        return self.outcomes[-1].decision.verdict

    @property
    def reason(self) -> str:
        return self.outcomes[-1].decision.reason


def works(scene: Scene | None = None, *, gpu: float | None = 0.9) -> Watch:
    """Return an engine that has decoded for a minute."""
    scene = scene or Scene(steps=0)
    scene.gpu, scene.cores = gpu, 0.5
    watch = Watch(scene)
    watch.seconds(60, rate=10, **RUNS)
    assert watch.verdict is Verdict.WORKING
    return watch


def stops(watch: Watch, *, page: bool = True, gpu: float | None = 0.0) -> None:
    watch.scene.cores, watch.scene.answers = 0.0, page
    watch.scene.gpu = gpu if watch.scene.gpu is not None else None


@pytest.mark.parametrize("page", [True, False])
@pytest.mark.parametrize("gpu", [0.9, None])
def test_what_decodes_no_more_with_idle_witnesses_is_hung_within_thirty_seconds(
    gpu: float | None, *, page: bool
) -> None:
    watch = works(gpu=gpu)
    stops(watch, page=page)
    watch.seconds(20)
    assert watch.verdict is Verdict.WORKING
    watch.seconds(10)
    assert watch.verdict is Verdict.HUNG
    decision = watch.outcomes[-1].decision
    assert decision.condition
    assert "2 requests run, no decode step for" in decision.reason
    assert "used 0.00 s of CPU" in decision.reason
    assert ("GPU 0 is at 0 % and 60 W" if gpu else "no GPU was requested") in decision.reason
    assert decision.evidence["cpu_seconds"] == 0.0


def test_the_sentence_has_the_longest_gap_of_its_history() -> None:
    history = EngineHistory(gaps={"4096": Gap(3.1, ENOUGH_GAPS)})
    watch = Watch(Scene(steps=0, longest_prompt_tokens=4000), history)
    watch.scene.gpu, watch.scene.cores = 0.9, 0.5
    watch.seconds(60, rate=10, **RUNS)
    stops(watch)
    watch.seconds(16)
    assert watch.verdict is Verdict.HUNG  # it was never so quiet for a third of that
    assert "(its longest gap at this prompt length was 3.1 s)" in watch.reason


BUSY = [
    ({"cores": 1.0}, "they used"),
    ({"gpu": 1.0}, "their GPU is at 100 %"),
    ({"blocked": frozenset({10})}, "waits for a disk or a driver (state D)"),
]


@pytest.mark.parametrize(("witness", "words"), BUSY)
def test_a_busy_witness_makes_it_stalled_after_minutes_and_never_hung(
    witness: dict[str, Any], words: str
) -> None:
    watch = works()
    stops(watch)
    for name, value in witness.items():
        setattr(watch.scene, name, value)
    watch.seconds(290)
    assert watch.verdict is Verdict.WORKING
    watch.seconds(1000)
    assert watch.verdict is Verdict.STALLED
    assert words in watch.reason
    assert watch.outcomes[-1].decision.condition
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


def test_reading_from_a_disk_is_no_hang() -> None:
    watch = works()
    stops(watch)
    for _ in range(100):
        watch.scene.moved += 1 << 20
        watch.seconds(1)
    assert watch.verdict is Verdict.WORKING


@pytest.mark.parametrize("unknown", ["gpu_known", "use"])
def test_a_witness_that_is_not_known_makes_it_stalled_after_a_minute_and_never_hung(unknown: str) -> None:
    watch = works()
    stops(watch)
    setattr(watch.scene, unknown, False)
    watch.seconds(50)
    assert watch.verdict is Verdict.WORKING
    watch.seconds(1000)
    assert watch.verdict is Verdict.STALLED
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


def test_a_health_check_in_the_container_does_not_hide_a_hang() -> None:
    watch = works()
    stops(watch)
    for _ in range(3):
        watch.scene.cpu += 0.2
        watch.seconds(10)
    assert watch.verdict is Verdict.HUNG


@pytest.mark.parametrize("known", [True, False])
def test_an_idle_server_whose_page_answers_no_more_is_hung_if_its_witnesses_are_known(*, known: bool) -> None:
    watch = Watch(Scene(requests_running=0, steps=0))
    watch.seconds(60)
    assert watch.verdict is Verdict.IDLE
    watch.scene.answers = False
    watch.scene.use = known
    watch.seconds(30)
    assert watch.verdict is (Verdict.HUNG if known else Verdict.WORKING)
    assert "its page has not answered for" in watch.reason
    watch.scene.answers = True
    watch.seconds(2)
    assert watch.verdict is Verdict.IDLE


def test_a_model_that_may_sleep_and_cannot_be_asked_is_never_hung() -> None:
    watch = works(Scene(steps=0, may_sleep=True))
    stops(watch, page=False)
    watch.seconds(600)
    assert watch.verdict is Verdict.STALLED
    assert "may sleep" in watch.reason
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


@pytest.mark.parametrize(
    ("engine", "container", "verdict"),
    [
        ({"residency": Residency.SLEEPING}, {}, Verdict.SLEEPING),
        ({"residency": Residency.UNLOADED}, {}, Verdict.SLEEPING),
        ({"residency": Residency.LOADING}, {}, Verdict.LOADING),
        ({}, {"state": "paused"}, Verdict.PAUSED),
        ({}, {"paused_by_us": True}, Verdict.PAUSED),
        ({}, {"state": "exited", "running": False}, Verdict.STOPPED),
        ({"requests_running": 0, "requests_waiting": 0}, {}, Verdict.IDLE),
        ({"requests_running": None}, {}, Verdict.UNKNOWN),
        ({"requests_running": None, "reason": "it answers 401", "lasting": True}, {}, Verdict.UNKNOWN),
    ],
)
def test_what_is_not_meant_to_work_is_not_hung_however_still_it_is(
    engine: dict[str, Any], container: dict[str, Any], verdict: Verdict
) -> None:
    watch = works()
    stops(watch)
    watch.scene.container |= container
    watch.seconds(600, **engine)
    assert {each.decision.verdict for each in watch.outcomes[60:]} == {verdict}


def test_a_freezer_that_nobody_told_of_is_a_pause() -> None:
    watch = works()
    stops(watch, page=False)
    watch.scene.frozen = True
    watch.seconds(100)
    assert watch.verdict is Verdict.PAUSED
    watch.scene.frozen = False
    watch.seconds(20)  # what was still meanwhile does not count
    assert watch.verdict is not Verdict.HUNG


def test_a_gap_in_which_the_daemon_itself_stood_still_proves_nothing() -> None:
    watch = works()
    stops(watch, page=False)
    watch.seconds(5)
    watch.now += 600.0
    for _ in range(20):
        watch.seconds(1)
        assert watch.verdict is Verdict.WORKING
    watch.seconds(15)
    assert watch.verdict is Verdict.HUNG


def test_many_wait_and_it_works() -> None:
    watch = works()
    watch.seconds(600, rate=1, requests_waiting=500)
    assert watch.verdict is Verdict.SATURATED


def test_requests_that_wait_while_none_runs_are_stalled_at_most() -> None:
    watch = works()
    stops(watch)
    watch.seconds(300, requests_running=0, requests_waiting=3)
    assert watch.verdict is Verdict.STALLED
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


def test_an_engine_without_a_counter_of_steps_is_stalled_at_most() -> None:
    scene = Scene(requests_running=2, steps=None)
    watch = Watch(scene)
    watch.seconds(300)
    assert watch.verdict is Verdict.STALLED
    assert "it reports no step counter" in watch.reason


def test_a_page_that_refuses_proves_nothing() -> None:
    watch = works()
    stops(watch)
    watch.seconds(300, reason="refused", requests_running=None, residency=Residency.UNKNOWN)
    assert watch.verdict is Verdict.STALLED
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


def test_a_request_that_ended_between_two_slow_readings_is_no_hang() -> None:
    watch = works()
    stops(watch)
    last = watch.scene.last
    assert last is not None
    watch.scene.engine |= {"read": last.read, "read_at": last.read_at}  # nobody reads it for a minute
    watch.seconds(60)
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


def test_two_completions_that_miss_their_deadlines_are_a_hang_by_idle_witnesses() -> None:
    watch = Watch(Scene(requests_running=0, steps=0))
    watch.seconds(60)
    watch.scene.seen = {"missed_since": 20.0}
    watch.seconds(1)
    assert watch.verdict is Verdict.HUNG
    assert "two completions" in watch.reason
    watch.scene.cores = 1.0
    watch.seconds(400)
    assert watch.verdict is Verdict.STALLED


def test_a_restart_begins_anew() -> None:
    watch = works()
    stops(watch)
    watch.seconds(30)
    assert watch.verdict is Verdict.HUNG
    watch.scene.container["started_at"] = START + watch.now
    watch.scene.cpu = 0.0
    watch.seconds(3, steps=0, reason="it answers 503", requests_running=None, residency=Residency.UNKNOWN)
    assert watch.verdict is Verdict.LOADING
    watch.seconds(30, rate=5, reason="", residency=Residency.LOADED, **RUNS)
    assert watch.verdict is Verdict.WORKING
    assert watch.state is not None
    (start,) = watch.state.history.starts
    assert start.loaded_seconds is not None
    assert 3 <= start.loaded_seconds <= 5
    assert start.answered_seconds == start.loaded_seconds
    assert start.first_step_seconds is not None


def test_a_counter_that_goes_back_is_a_restart_without_a_container() -> None:
    watch = works()
    stops(watch)
    watch.seconds(20)
    watch.seconds(20, steps=3)
    assert watch.verdict is not Verdict.HUNG


def test_a_hang_is_not_learned_as_usual() -> None:
    watch = works()
    stops(watch)
    watch.seconds(600)
    watch.scene.cores = 0.5
    watch.seconds(100, rate=10)
    assert watch.state is not None
    assert max(gap.seconds for gap in watch.state.history.gaps.values()) < 2.0


def test_a_long_prefill_that_ended_is_learned() -> None:
    watch = works(Scene(steps=0, longest_prompt_tokens=100_000))
    watch.scene.gpu = 1.0
    watch.seconds(900)
    assert watch.verdict is Verdict.STALLED
    watch.seconds(60, rate=10)
    assert watch.state is not None
    assert watch.state.history.gaps["131072"].seconds > 890
    watch.seconds(900)
    assert watch.verdict is Verdict.WORKING  # the next of its kind is nothing new


def loads(watch: Watch, seconds: float) -> Verdict:
    watch.scene.container["started_at"] = START
    return watch.seconds(seconds, residency=Residency.LOADING).decision.verdict


def test_a_load_that_works_is_a_load_and_one_of_hours_a_condition() -> None:
    watch = Watch(Scene(requests_running=None))
    watch.scene.cores = 0.5
    assert loads(watch, 3600) is Verdict.LOADING
    assert loads(watch, 200) is Verdict.STALLED
    assert watch.outcomes[-1].decision.condition
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


def test_a_load_that_stands_still_is_stalled_after_its_usual_time_and_hung_at_the_end() -> None:
    watch = Watch(Scene(requests_running=None), EngineHistory(load_seconds=100.0))
    watch.scene.cores = 0.5
    assert loads(watch, 30) is Verdict.LOADING
    watch.scene.cores = 0.0
    assert loads(watch, 95) is Verdict.LOADING
    assert loads(watch, 10) is Verdict.STALLED
    assert not watch.outcomes[-1].decision.condition
    assert loads(watch, 3600) is Verdict.HUNG


def test_one_that_never_answered_is_never_hung() -> None:
    watch = Watch(Scene(requests_running=None, residency=Residency.UNKNOWN, reason="refused"))
    watch.scene.container["started_at"] = START
    watch.seconds(5000)
    assert watch.verdict is Verdict.STALLED
    assert Verdict.HUNG not in {each.decision.verdict for each in watch.outcomes}


@st.composite
def scripts(draw: st.DrawFn) -> list[dict[str, Any]]:
    part = st.fixed_dictionaries(
        {
            "seconds": st.integers(1, 60),
            "rate": st.sampled_from((0, 0, 1, 50)),
            "cores": st.sampled_from((0.0, 0.01, 1.0)),
            "gpu": st.sampled_from((0.0, 0.01, 1.0, None)),
            "blocked": st.sampled_from((frozenset(), frozenset({10}))),
            "use": st.booleans(),
            "gpu_known": st.booleans(),
            "answers": st.booleans(),
            "frozen": st.sampled_from((False, False, True)),
            "engine": st.fixed_dictionaries(
                {
                    "requests_running": st.sampled_from((0, 1, 8, None)),
                    "requests_waiting": st.sampled_from((0, 5, None)),
                    "residency": st.sampled_from(tuple(Residency)),
                    "may_sleep": st.booleans(),
                    "reason": st.sampled_from(("", "", "refused")),
                    "longest_prompt_tokens": st.sampled_from((None, 10, 100_000)),
                }
            ),
            "back": st.booleans(),
        }
    )
    return draw(st.lists(part, min_size=1, max_size=12))


@examples(200)
@given(scripts())
def test_whatever_happens_hung_has_idle_witnesses_and_a_reason(script: list[dict[str, Any]]) -> None:
    scene = Scene(steps=0)
    watch = Watch(scene)
    quiet = 0.0
    for part in script:
        for name in ("cores", "gpu", "blocked", "use", "gpu_known", "answers", "frozen"):
            setattr(scene, name, part[name])
        engine = dict(part["engine"])
        if part["back"]:
            engine["steps"] = 0
        for _ in range(part["seconds"]):
            outcome = watch.seconds(1, rate=part["rate"], **engine)
            engine.pop("steps", None)
            busy = scene.cores >= 1.0 or (scene.gpu or 0.0) >= 1.0 or bool(scene.blocked)
            unknown = not scene.use or not scene.gpu_known or scene.frozen
            quiet = 0.0 if busy or unknown else quiet + 1.0
            decision = outcome.decision
            assert decision.reason or decision.verdict is Verdict.UNKNOWN
            if decision.verdict is Verdict.HUNG:
                assert quiet >= SETTINGS.minimum_quiet - 2
                assert decision.condition
                assert (
                    scene.engine["residency"] not in (Residency.SLEEPING, Residency.UNLOADED)
                    or not scene.answers
                )


@given(st.lists(st.floats(0.01, 1e6), max_size=200), st.one_of(st.none(), st.integers(1, 1 << 40)))
def test_the_history_stays_bounded(gaps: list[float], prompt: int | None) -> None:
    history = EngineHistory()
    for number, gap in enumerate(gaps):
        history = with_gap(history, None if prompt is None else prompt >> (number % 40), gap)
    assert len(history.gaps) <= 33
    assert replace(history) == history
