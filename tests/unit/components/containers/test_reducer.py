from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.conditions import LOOPING, UNHEALTHY, conditions
from aiidpd.components.containers.reducer import step
from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent
from aiidpd.components.containers.state import (
    ContainersState,
    Inspected,
    Observation,
    Snapshot,
)
from aiidpd.kernel.events import Event, Severity
from tests.forms import examples

T0 = 1_800_000_000.0
UP = ContainerReading("c1", "vllm", "vllm:1", "running", started_at=T0, health="healthy")


def run(*observed: tuple[float, Observation]) -> tuple[ContainersState, list[Event]]:
    """Step through what was observed ``seconds`` after T0; the first is the baseline."""
    state, said = ContainersState(), []
    for seconds, observation in observed:
        state, effects = step(state, observation, T0 + seconds)
        said.extend(effects)
    return state, said


def heard(seconds: float, action: str, **more: object) -> tuple[float, RuntimeEvent]:
    return seconds, RuntimeEvent(T0 + seconds, action, "c1", "vllm", "vllm:1", **more)  # type: ignore[arg-type]


def found(state: ContainersState) -> list[tuple[str, str]]:
    return [(each.type, each.subject) for each in conditions(state, simulated=False)]


def kinds(said: list[Event]) -> list[str]:
    return [event.kind.removeprefix("container.") for event in said]


def test_the_first_reading_is_no_news_except_what_is_sick() -> None:
    sick = replace(UP, id="c2", name="llama", health="unhealthy")
    _, said = run((1, Snapshot((UP, sick))))
    assert kinds(said) == ["watching", "unhealthy"]
    assert said[0].reason == "watching 2 containers: 2 running; 1 unhealthy"
    assert said[1].subject == "llama"


def test_a_death_is_told_from_the_event_once_with_its_code() -> None:
    dead = replace(UP, state="exited", exit_code=137, finished_at=T0 + 9.9, health=None)
    _, said = run(
        (1, Snapshot((UP,))),
        heard(10, "die", exit_code=137),
        (10.01, Inspected("c1", dead)),
        heard(10, "die", exit_code=137),
        (40, Snapshot((dead,))),
    )
    assert kinds(said) == ["watching", "died"]
    assert said[1].evidence["exit_code"] == 137
    assert "killed by signal 9" in said[1].reason
    assert "memory" not in said[1].reason  # 137 alone is no proof
    assert said[1].severity is Severity.WARNING


def test_a_death_that_was_asked_for_is_no_warning_and_docker_s_memory_claim_is_named() -> None:
    base = (1, Snapshot((UP,)))
    _, asked = run(base, heard(9, "kill", detail="15"), heard(10, "die", exit_code=143))
    assert asked[-1].severity is Severity.INFO
    assert "asked to send signal 15" in asked[-1].reason
    _, hup = run(base, heard(9, "kill", detail="1"), heard(10, "die", exit_code=1))
    assert hup[-1].severity is Severity.WARNING
    _, oom = run(base, heard(9, "oom"), heard(10, "die", exit_code=137))
    assert kinds(oom)[1:] == ["oom_killed", "died"]
    assert "out of memory" in oom[-1].reason


def test_a_restart_between_two_readings_is_told_as_end_and_start() -> None:
    again = replace(UP, started_at=T0 + 20, finished_at=T0 + 15, restart_count=1)
    _, said = run((1, Snapshot((UP,))), (30, Snapshot((again,))))
    assert kinds(said) == ["watching", "died", "started", "healthy"]
    assert said[1].evidence["exit_code"] is None
    assert said[1].time == T0 + 15
    assert said[2].time == T0 + 20


def test_an_event_on_its_way_while_a_reading_was_made_says_nothing_again() -> None:
    again = replace(UP, started_at=T0 + 20, finished_at=T0 + 15, restart_count=1)
    state, said = run(
        (1, Snapshot((UP,))),
        (30, Snapshot((again,))),
        heard(15.01, "die", exit_code=1),
        heard(20.01, "start"),
    )
    assert kinds(said) == ["watching", "died", "started", "healthy"]
    assert state.stale == {"c1"}  # it asks for a reading all the same


def test_a_container_that_comes_and_goes_between_readings_is_known_from_events() -> None:
    state, said = run(
        (1, Snapshot(())),
        heard(2, "create"),
        heard(2.1, "start"),
        heard(2.2, "die", exit_code=0),
        heard(2.3, "destroy"),
        (2.4, Inspected("c1", None)),
        heard(2.2, "die", exit_code=0),
    )
    assert kinds(said) == ["watching", "appeared", "started", "died", "removed"]
    assert not state.known
    assert not state.stale


def test_one_that_can_not_be_read_is_not_taken_for_removed() -> None:
    state, said = run((1, Snapshot((UP,))), (30, Snapshot((), frozenset({"c1"}))))
    assert kinds(said) == ["watching"]
    assert "c1" in state.known


def test_a_pause_is_told_and_does_not_make_sick() -> None:
    paused = replace(UP, state="paused", health=None)
    unknown = replace(UP, health=None)
    _, said = run(
        (1, Snapshot((UP,))),
        (2, Inspected("c1", paused)),
        (3, Inspected("c1", unknown)),
        (4, Inspected("c1", UP)),
    )
    assert kinds(said) == ["watching", "paused", "unpaused"]


def test_a_restart_loop_is_told_once_and_so_is_its_end() -> None:
    observed: list[tuple[float, Observation]] = [(1, Snapshot((UP,)))]
    for turn in range(5):
        observed += [heard(10 + 60 * turn, "die", exit_code=1), heard(11 + 60 * turn, "start")]
    last = replace(UP, started_at=T0 + 250.9)
    observed += [(300, Snapshot((last,))), (249 + 600, Snapshot((last,))), (251 + 600, Snapshot((last,)))]
    _, said = run(*observed)
    assert kinds(said).count("restart_loop") == 1
    assert kinds(said)[-1] == "restart_loop_ended"
    loop = next(event for event in said if event.kind == "container.restart_loop")
    assert loop.time == T0 + 130  # with the third death
    assert said[-1].time == T0 + 851


def test_unseen_restarts_count_towards_a_loop() -> None:
    after = replace(UP, started_at=T0 + 25, finished_at=T0 + 24, restart_count=3)
    _, said = run((1, Snapshot((UP,))), (30, Snapshot((after,))))
    assert "restart_loop" in kinds(said)


def test_restarts_that_were_asked_for_are_no_loop() -> None:
    observed: list[tuple[float, Observation]] = [(1, Snapshot((UP,)))]
    for turn in range(5):
        observed += [
            heard(9 + 60 * turn, "kill", detail="15"),
            heard(10 + 60 * turn, "die", exit_code=143),
            heard(11 + 60 * turn, "start"),
        ]
    _, said = run(*observed)
    assert "restart_loop" not in kinds(said)


def test_a_container_that_is_found_waiting_for_its_next_restart_is_in_a_loop() -> None:
    waiting = replace(
        UP,
        state="restarting",
        health=None,
        exit_code=1,
        restart_count=3,
        started_at=T0 - 65.0,
        finished_at=T0 - 5.0,
    )
    state, said = run((1, Snapshot((waiting,))))
    assert kinds(said) == ["watching", "restart_loop"]
    assert said[1].reason == "Docker has restarted it 3 times and is about to again"
    assert found(state) == [(LOOPING, "vllm")]
    up = replace(UP, restart_count=3, started_at=T0 + 2.0)
    state, said = run((1, Snapshot((waiting,))), (10, Snapshot((up,))), (594, Snapshot((up,))))
    assert found(state) == [(LOOPING, "vllm")]
    state, said = run((1, Snapshot((waiting,))), (10, Snapshot((up,))), (596, Snapshot((up,))))
    assert kinds(said)[-1] == "restart_loop_ended"
    assert found(state) == []


@pytest.mark.parametrize(
    "waiting",
    [
        replace(UP, state="restarting", restart_count=2, finished_at=T0 + 0.5),
        replace(UP, state="restarting", restart_count=30, started_at=T0 - 200.0, finished_at=T0),
        replace(UP, state="restarting", restart_count=30),
        replace(UP, restart_count=30, finished_at=T0 - 1.0),
    ],
)
def test_a_few_restarts_or_long_runs_or_one_that_runs_are_no_loop_yet(waiting: ContainerReading) -> None:
    state, said = run((1, Snapshot((waiting,))))
    assert kinds(said) == ["watching"]
    assert found(state) == []


def test_to_stop_a_container_ends_its_loop() -> None:
    observed: list[tuple[float, Observation]] = [(1, Snapshot((UP,)))]
    for turn in range(3):
        observed += [heard(10 + 60 * turn, "die", exit_code=1), heard(11 + 60 * turn, "start")]
    state, _ = run(*observed)
    assert found(state) == [(LOOPING, "vllm")]
    state, said = run(*observed, heard(200, "kill", detail="15"), heard(201, "die", exit_code=143))
    assert kinds(said)[-2:] == ["died", "restart_loop_ended"]
    assert said[-1].reason == "it was stopped on request"
    assert found(state) == []


def test_a_health_check_that_fails_is_wrong_while_the_container_runs() -> None:
    sick, paused = replace(UP, health="unhealthy"), replace(UP, state="paused", health=None)
    dead = replace(UP, state="exited", health=None, exit_code=0, finished_at=T0 + 30)
    assert found(run((1, Snapshot((sick,))))[0]) == [(UNHEALTHY, "vllm")]
    assert found(run((1, Snapshot((sick,))), (2, Snapshot((paused,))))[0]) == [(UNHEALTHY, "vllm")]
    assert found(run((1, Snapshot((sick,))), (2, Snapshot((UP,))))[0]) == []
    assert found(run((1, Snapshot((sick,))), (31, Snapshot((dead,))))[0]) == []
    assert found(run((1, Snapshot((sick,))), (2, Snapshot(())))[0]) == []


def test_a_reading_wins_over_an_event_from_a_clock_that_was_set_back() -> None:
    state, said = run((1, Snapshot((UP,))), heard(10, "die", exit_code=1), (11, Inspected("c1", UP)))
    assert kinds(said) == ["watching", "died", "started", "healthy"]
    assert state.known["c1"].running


def test_an_end_before_the_present_run_is_of_an_earlier_one_whatever_our_own_clock_says() -> None:
    ahead = replace(UP, started_at=T0 + 20)  # the engine's clock is ahead of ours
    _, said = run((1, Snapshot((ahead,))), heard(19, "die", exit_code=1), heard(20.01, "start"))
    assert kinds(said) == ["watching"]


# Any loss, repetition and disorder of events

START_LAG, END_LAG = 0.003, 0.0065  # seconds by which the engine logs after the fact


@dataclass
class Truth:
    """One container as it really is, and everything that happened to it."""

    at: float = T0
    exists: bool = False
    running: bool = False
    health: str | None = None
    oom: bool = False
    started: float | None = None
    finished: float | None = None
    runs: int = 0
    happened: list[str] = field(default_factory=list)
    events: list[RuntimeEvent] = field(default_factory=list)

    def act(self, choice: int, seconds: float) -> None:
        self.at += seconds
        if not self.exists:
            if not self.happened:
                self.exists = True
                self._log("create", "appeared")
        elif not self.running:
            if choice % 4 == 0:
                self.exists = False
                self._log("destroy", "removed")
            else:
                self.running, self.started, self.health, self.oom = (
                    True,
                    self.at - START_LAG,
                    "starting",
                    False,
                )
                self.runs += 1
                self._log("start", "started")
        elif choice % 4 == 0:
            self.running, self.finished, self.health = False, self.at - END_LAG, None
            self._log("die", "died", exit_code=self.runs)
        elif choice % 4 == 1 and not self.oom:
            self.oom = True
            self._log("oom", "oom_killed")
        else:
            self.health = "unhealthy" if self.health == "healthy" else "healthy"
            self._log("health_status", self.health, detail=self.health)

    def _log(self, action: str, kind: str, **more: object) -> None:
        self.happened.append(kind)
        self.events.append(RuntimeEvent(self.at, action, "c1", "vllm", "vllm:1", **more))  # type: ignore[arg-type]

    def reading(self) -> ContainerReading | None:
        if not self.exists:
            return None
        ended = self.runs > 0 and not self.running
        return ContainerReading(
            "c1",
            "vllm",
            "vllm:1",
            "running" if self.running else "exited" if ended else "created",
            health=self.health,
            exit_code=self.runs if ended else None,
            oom_killed=self.oom,
            started_at=self.started,
            finished_at=self.finished,
        )

    def listing(self) -> Snapshot:
        reading = self.reading()
        return Snapshot(() if reading is None else (reading,))


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(one in rest for one in part)


FACETS = (("appeared", "started", "died", "removed"), ("oom_killed",))
MOVES = st.one_of(
    st.tuples(st.just("act"), st.integers(0, 7), st.sampled_from([0.004, 0.5, 20.0])),
    st.tuples(st.just("hear"), st.integers(0, 30), st.just(0.0)),
    st.tuples(st.just("look"), st.just(0), st.just(0.0)),
    st.tuples(st.just("list"), st.just(0), st.just(0.0)),
)


@examples(500)
@given(st.lists(MOVES, max_size=40), st.integers(0, 6))
def test_any_loss_repetition_and_disorder_ends_in_the_truth_and_says_nothing_twice(
    moves: list[tuple[str, int, float]], before: int
) -> None:
    truth = Truth()
    for turn in range(before):
        truth.act(turn, 1.0)
    told_before = len(truth.happened)
    state, _ = step(ContainersState(), truth.listing(), truth.at)
    said: list[Event] = []
    for move, choice, seconds in moves:
        observation: Observation
        if move == "act":
            truth.act(choice, seconds)
            continue
        if move == "hear" and truth.events:  # any event, at any time, any number of times, or never
            observation = truth.events[choice % len(truth.events)]
        elif move == "look":
            observation = Inspected("c1", truth.reading())
        else:
            observation = truth.listing()
        state, effects = step(state, observation, truth.at)
        said.extend(effects)
    state, effects = step(state, truth.listing(), truth.at)
    said.extend(effects)

    known = state.known.get("c1")
    assert (known is not None) == truth.exists
    if known is not None:
        assert (known.running, known.oom) == (truth.running, truth.oom)
        assert known.started == truth.started
        if truth.running and truth.health != "starting":
            assert known.health == truth.health
    if truth.health != "starting":
        sick = truth.exists and truth.running and truth.health == "unhealthy"
        assert ((UNHEALTHY, "vllm") in found(state)) == sick
    assert state.stale == frozenset()
    happened = truth.happened[told_before:]
    for facet in FACETS:
        told = [kind for kind in kinds(said) if kind in facet]
        assert is_subsequence(told, [kind for kind in happened if kind in facet])
    # Health that an event from before a reading tells of comes late, with its own time, and once.
    told_of, were = Counter(kinds(said)), Counter(happened)
    assert all(told_of[kind] <= were[kind] for kind in ("healthy", "unhealthy"))
    codes = [event.evidence["exit_code"] for event in said if event.kind == "container.died"]
    exact = [code for code in codes if code is not None]
    assert len(exact) == len(set(exact))
    again, more = step(state, truth.listing(), truth.at + 30)
    assert more == ()
    assert again.known.keys() == state.known.keys()


@examples(200)
@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from([0.004, 0.5, 20.0])), max_size=30), st.data())
def test_a_stream_without_loss_tells_everything_in_order(
    acts: list[tuple[int, float]], data: st.DataObject
) -> None:
    truth, said = Truth(), []
    state, _ = step(ContainersState(), truth.listing(), truth.at)
    for choice, seconds in acts:
        seen = len(truth.events)
        truth.act(choice, seconds)
        for event in truth.events[seen:]:
            state, effects = step(state, event, truth.at)
            said.extend(effects)
        if data.draw(st.booleans()):
            state, effects = step(state, Inspected("c1", truth.reading()), truth.at)
            said.extend(effects)
    assert [kind for kind in kinds(said) if kind != "restart_loop"] == truth.happened


@pytest.mark.parametrize("action", ["start", "die", "health_status", "update", "rename"])
def test_an_event_before_the_first_reading_is_left_to_the_reading(action: str) -> None:
    state, said = run(heard(1, action))
    assert not state.known
    assert not said
