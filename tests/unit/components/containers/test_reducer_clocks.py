"""Each transition once, whatever the clock of the runtime says, and whatever is lost of its events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.cause import Witnesses
from aiidpd.components.containers.reducer import step
from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent
from aiidpd.components.containers.state import ContainersState, Inspected, Observation, Snapshot
from aiidpd.kernel.events import Event
from tests.forms import examples

T0 = 1_800_000_000.0
UP = ContainerReading("c1", "vllm", "vllm:1", "running", started_at=T0, health="healthy", pid=100)


def run(*observed: tuple[float, Observation], witnesses: Witnesses | None = None) -> list[Event]:
    state, said = ContainersState(), []
    for seconds, observation in observed:
        state, effects = step(state, observation, T0 + seconds, witnesses or Witnesses())
        said.extend(effects)
    return said


def heard(seconds: float, action: str, **more: object) -> tuple[float, RuntimeEvent]:
    return seconds, RuntimeEvent(T0 + seconds, action, "c1", "vllm", "vllm:1", **more)  # type: ignore[arg-type]


def kinds(said: list[Event]) -> list[str]:
    return [event.kind.removeprefix("container.") for event in said]


QUICK = replace(
    UP, state="exited", health=None, exit_code=0, started_at=T0 + 5.001, finished_at=T0 + 5.0, pid=None
)


def test_a_run_whose_end_is_noted_before_its_start_ends_once() -> None:
    """Docker writes StartedAt after a process that ends at once has ended."""
    listed = Snapshot((QUICK,))
    story = ["watching", "appeared", "started", "died"]
    by_readings = [(10.0 + 30 * turn, listed) for turn in range(20)]
    assert kinds(run((1, Snapshot(())), *by_readings)) == story
    created = [heard(5, "create"), heard(5.003, "start"), heard(5.004, "die", exit_code=0)]
    assert kinds(run((1, Snapshot(())), *created, (5.01, Inspected("c1", QUICK)), *by_readings)) == story
    # The events come after the reading that told of it.
    late = [(5.02, event) for _, event in created]
    assert kinds(run((1, Snapshot(())), (5.01, Inspected("c1", QUICK)), *late, *by_readings)) == story
    assert kinds(run((5.01, listed), *late, *by_readings)) == ["watching"]


def test_a_run_that_ended_at_its_start_ends_once() -> None:
    equal = Snapshot((replace(QUICK, finished_at=QUICK.started_at),))
    assert kinds(run((1, Snapshot(())), (10, equal), (40, equal))) == [
        "watching",
        "appeared",
        "started",
        "died",
    ]


def test_one_shots_under_a_restart_policy_are_counted_by_their_starts() -> None:
    """Each ends before its start is noted, and starts anew."""
    observed: list[tuple[float, Observation]] = [(1, Snapshot(()))]
    for turn in range(6):
        at = 10.0 + turn
        shown = replace(
            QUICK, state="restarting", restart_count=turn + 1, started_at=T0 + at + 0.001, finished_at=T0 + at
        )
        observed += [(at + 0.1, Snapshot((shown,))), (at + 0.5, Snapshot((shown,)))]
    said = Counter(kinds(run(*observed)))
    assert (said["started"], said["died"], said["restart_loop"], said["restarts_unseen"]) == (6, 6, 1, 0)


@pytest.mark.parametrize("back", [0.5, 30.0, 3600.0])
def test_a_clock_that_is_set_back_between_two_runs_hides_none(back: float) -> None:
    ended = replace(UP, state="exited", health=None, exit_code=1, finished_at=T0 + 20, pid=None)
    again = replace(UP, started_at=T0 + 21 - back, finished_at=T0 + 20, health=None, pid=101)
    said = run(
        (1, Snapshot((UP,))),
        heard(20, "die", exit_code=1),
        (20.01, Inspected("c1", ended)),
        heard(21 - back, "start"),
        (21 - back, Inspected("c1", again)),
        (50 - back, Snapshot((again,))),
        (80 - back, Snapshot((again,))),
    )
    assert kinds(said) == ["watching", "died", "started"]


def test_another_process_is_another_run_where_the_clock_stands_still() -> None:
    said = run(
        (1, Snapshot((UP,))), (31, Snapshot((replace(UP, pid=200),))), (61, Snapshot((replace(UP, pid=200),)))
    )
    assert kinds(said) == ["watching", "died", "started", "healthy"]
    said = run((1, Snapshot((UP,))), (31, Snapshot((replace(UP, pid=None, restart_count=1),))))
    assert kinds(said) == ["watching", "died", "started", "healthy"]


def test_runs_whose_events_the_engine_dropped_leave_their_number() -> None:
    later = replace(UP, started_at=T0 + 28, finished_at=T0 + 27, restart_count=4, health=None)
    said = run((1, Snapshot((UP,))), (31, Snapshot((later,))))
    assert kinds(said) == ["watching", "restarts_unseen", "died", "restart_loop", "started"]
    assert said[1].evidence["restarts"] == 3
    # An end and the next start are lost between two events that came.
    dead = replace(UP, state="exited", started_at=T0 + 15, finished_at=T0 + 20, exit_code=3, health=None)
    said = run((1, Snapshot((UP,))), heard(20, "die", exit_code=3), (20.1, Inspected("c1", dead)))
    assert kinds(said) == ["watching", "died", "restarts_unseen"]


def test_quick_pauses_are_published_from_their_events_and_not_again_by_a_reading() -> None:
    paused = replace(UP, state="paused", health=None)
    observed: list[tuple[float, Observation]] = [(1, Snapshot((UP,)))]
    for turn in range(30):
        at = 10.0 + turn
        observed += [heard(at, "pause"), heard(at + 0.01, "unpause")]
        # One reading shows it paused, the next does not; either was made while events were on their way.
        shown = paused if turn % 2 else UP
        observed.append((at + 0.02, Inspected("c1", shown)))
    observed.append((60, Snapshot((UP,))))
    said = kinds(run(*observed))
    assert said[:3] == ["watching", "paused", "unpaused"]
    pairs = [each for each in said if each in ("paused", "unpaused")]
    assert pairs[::2] == ["paused"] * (len(pairs) // 2)
    assert pairs[1::2] == ["unpaused"] * (len(pairs) // 2)


def test_a_reading_between_a_pause_and_its_event_does_not_double_it() -> None:
    paused = replace(UP, state="paused", health=None)
    base = (1, Snapshot((UP,)))
    said = run(base, (10.2, Inspected("c1", paused, T0 + 10.1)), heard(10.0, "pause"), heard(10.3, "unpause"))
    assert kinds(said) == ["watching", "paused", "unpaused"]
    # All of three were on their way.
    flight = [heard(10.0, "pause"), heard(10.05, "unpause"), heard(10.1, "pause")]
    said = run(base, (10.2, Inspected("c1", paused, T0 + 10.15)), *flight)
    assert kinds(said) == ["watching", "paused", "unpaused", "paused"]
    said = run(base, (10.2, Inspected("c1", UP, T0 + 10.15)), *flight[:2])
    assert kinds(said) == ["watching", "paused", "unpaused"]


def test_an_unpause_that_was_dropped_between_two_pauses_is_inferred_once() -> None:
    said = run(
        (1, Snapshot((UP,))),
        heard(10, "pause"),
        heard(12, "pause"),
        heard(11, "unpause"),
        heard(13, "unpause"),
    )
    assert kinds(said) == ["watching", "paused", "unpaused", "paused", "unpaused"]


def test_a_flap_of_health_on_its_way_while_a_reading_was_made_is_published() -> None:
    sick = replace(UP, health="unhealthy")
    flap = [
        heard(10.0, "health_status", detail="unhealthy"),
        heard(10.05, "health_status", detail="healthy"),
        heard(10.1, "health_status", detail="unhealthy"),
    ]
    said = run((1, Snapshot((UP,))), (10.2, Inspected("c1", sick, T0 + 10.15)), *flap)
    assert kinds(said) == ["watching", "unhealthy", "healthy", "unhealthy"]


def test_an_event_while_a_reading_is_made_that_did_not_see_it_is_news() -> None:
    said = run((1, Snapshot((UP,))), (10.2, Inspected("c1", UP, T0 + 10.0)), heard(10.1, "die", exit_code=9))
    assert kinds(said) == ["watching", "died"]
    assert said[1].evidence["exit_code"] == 9


@pytest.mark.parametrize(
    ("code", "signal", "claimed", "kills", "act", "by"),
    [
        (0, "", None, 0, "", "itself"),
        (1, "", 9.99, 3, "", "itself"),  # the kernel killed another process of it
        (143, "15", None, 0, "", "request"),
        (137, "9", 9.99, 1, "", "request"),
        (137, "", 9.99, 1, "", "kernel"),
        (137, "", 9.99, 0, "", "unknown"),  # the runtime claims it, the kernel counts nothing
        (137, "", None, 1, "", "unknown"),  # the kernel killed something else
        (137, "", 5.0, 1, "", "unknown"),  # it killed another process of it, and long before the end
        (137, "15", 9.99, 1, "an emergency stop", "aiidpd"),
    ],
)
def test_an_end_names_who_brought_it(
    *, code: int, signal: str, claimed: float | None, kills: int, act: str, by: str
) -> None:
    def around(at: float) -> int:
        return kills if at == T0 + 10 else 0

    witnesses = Witnesses(oom_kills=lambda *_: 2, machine_oom_kills=around, acted=lambda _: act)
    asked = [heard(9.995, "kill", detail=signal)] if signal else []
    oom = [heard(claimed, "oom")] if claimed else []
    said = run((1, Snapshot((UP,))), *oom, *asked, heard(10, "die", exit_code=code), witnesses=witnesses)
    assert said[-1].evidence["by"] == by
    assert said[-1].evidence["oom_kills"] == 2
    assert ("the kernel killed it for lack of memory" in said[-1].reason) is (by == "kernel")


def test_what_the_runtime_could_not_start_is_told_once_with_its_words() -> None:
    failed = replace(UP, state="created", health=None, started_at=None, exit_code=127, error="no such file")
    said = run((1, Snapshot(())), heard(2, "create"), (3, Inspected("c1", failed)), (33, Snapshot((failed,))))
    assert kinds(said) == ["watching", "appeared", "start_failed"]
    assert said[-1].evidence["by"] == "runtime"
    assert "no such file" in said[-1].reason


# Any clock, any loss

START_LAG = 0.003


@dataclass
class Truth:
    """One container under a restart policy, as it really is, by a clock that may be set at any time."""

    at: float = T0
    offset: float = 0.0
    exists: bool = False
    running: bool = False
    paused: bool = False
    waits: bool = False  # for its next restart
    started: float | None = None
    finished: float | None = None
    runs: int = 0
    count: int = 0
    happened: list[str] = field(default_factory=list)
    events: list[RuntimeEvent] = field(default_factory=list)
    before: int = 0

    @property
    def wall(self) -> float:
        return self.at + self.offset

    def act(self, choice: int, seconds: float) -> None:
        self.at += seconds
        if not self.exists:
            if not self.happened:
                self.exists = True
                self._log("create", "appeared")
        elif not self.running:
            if choice % 5 == 0:
                self.exists = False
                self._log("destroy", "removed")
            else:
                self._start(by_policy=self.waits)
                if choice % 5 == 1:  # it ends at once, before its start is noted, or just then
                    self._end(self.started - 0.001 * (choice % 2))  # type: ignore[operator]
        elif choice % 5 == 0:
            self._end(self.wall - 0.0065)
        elif choice % 5 in (1, 2):
            self.paused = not self.paused
            self._log(*(("pause", "paused") if self.paused else ("unpause", "unpaused")))
        else:
            self._end(self.wall - 0.0065)
            self.at += 0.01
            self._start(by_policy=self.waits)

    def _start(self, *, by_policy: bool) -> None:
        self.count = self.count if by_policy else 0
        self.running, self.paused, self.waits = True, False, False
        self.started = self.wall - START_LAG
        self.runs += 1
        self._log("start", "started")

    def _end(self, finished: float) -> None:
        self.running, self.paused, self.waits = False, False, True
        self.finished = finished
        self.count += 1
        self.at += 0.0005
        self._log("die", "died", exit_code=self.runs)

    def _log(self, action: str, kind: str, **more: object) -> None:
        self.happened.append(kind)
        self.events.append(RuntimeEvent(self.wall, action, "c1", "vllm", "vllm:1", **more))  # type: ignore[arg-type]

    def reading(self) -> ContainerReading | None:
        if not self.exists:
            return None
        state = (
            "paused"
            if self.paused
            else "running"
            if self.running
            else "restarting"
            if self.waits
            else "created"
        )
        return ContainerReading(
            "c1",
            "vllm",
            "vllm:1",
            state,
            exit_code=self.runs if state == "restarting" else None,
            restart_count=self.count,
            started_at=self.started,
            finished_at=self.finished,
            pid=1000 + self.runs if self.running else None,
        )

    def listing(self) -> Snapshot:
        reading = self.reading()
        return Snapshot(() if reading is None else (reading,))


JUMPS = st.sampled_from([-7200.0, -30.0, -0.02, 0.0, 5.0, 3600.0])
MOVES = st.one_of(
    st.tuples(st.just("act"), st.integers(0, 9), st.sampled_from([0.004, 0.5, 20.0])),
    st.tuples(st.just("hear"), st.integers(0, 3), st.just(0.0)),  # the next, after so many that are dropped
    st.tuples(st.just("replay"), st.integers(1, 8), st.just(0.0)),  # the last ones once more
    st.tuples(st.just("look"), st.just(0), st.just(0.0)),
    st.tuples(st.just("list"), st.just(0), st.just(0.0)),
    st.tuples(st.just("jump"), st.just(0), JUMPS),
)


class Watcher:
    """Steps through what it is given, as the watcher does."""

    def __init__(self) -> None:
        self.truth = Truth()
        self.said: list[Event] = []
        self.state, _ = step(ContainersState(), self.truth.listing(), self.truth.wall)
        self.at, self.read_at = 0, self.truth.wall

    def see(self, observation: Observation) -> None:
        self.state, effects = step(self.state, observation, self.truth.wall)
        self.said.extend(effects)

    def move(self, move: str, number: int, seconds: float) -> None:
        truth = self.truth
        if move == "act":
            truth.act(number, seconds)
        elif move == "jump":
            truth.offset += seconds
            truth.at += 0.01
        elif move == "hear":
            self.at = min(len(truth.events), self.at + number)
            for event in truth.events[self.at : self.at + 1]:
                self.see(event)
                self.at += 1
        elif move == "replay":
            since = min(truth.wall, self.read_at) - 1.0  # as the watcher requests them
            for event in truth.events[max(0, self.at - number) : self.at]:
                if event.time >= since:
                    self.see(event)
        else:  # what is on its way is stepped through before, or dropped
            self.at, self.read_at = len(truth.events), truth.wall
            self.see(Inspected("c1", truth.reading()) if move == "look" else truth.listing())

    def unseen(self) -> int:
        """Return how many restarts were published as a number alone."""
        found = (each for each in self.said if each.kind == "container.restarts_unseen")
        return sum(int(str(each.evidence["restarts"])) for each in found)


@examples(1500)
@given(st.lists(MOVES, max_size=40))
def test_whatever_the_clock_says_nothing_is_told_twice_and_the_end_is_right(
    moves: list[tuple[str, int, float]],
) -> None:
    watcher = Watcher()
    truth, said = watcher.truth, watcher.said
    for move in moves:
        watcher.move(*move)
    watcher.move("list", 0, 0.0)
    known = watcher.state.known.get("c1")
    assert (known is not None) == truth.exists
    if known is not None:
        assert (known.running, known.started) == (truth.running, truth.started)
        assert known.paused == truth.paused
    told, happened = Counter(kinds(said)), Counter(truth.happened)
    for kind in ("appeared", "removed", "started", "died"):
        assert told[kind] <= happened[kind], (kind, kinds(said), truth.happened)
    if not any(move == "jump" and seconds < 0 for move, _, seconds in moves):
        # Events of before a clock was set back that come only after it can't be told from new ones.
        assert told["started"] + watcher.unseen() <= happened["started"]
    codes = [each.evidence["exit_code"] for each in said if each.kind == "container.died"]
    exact = [code for code in codes if code is not None]
    assert len(exact) == len(set(exact))
    _, more = step(watcher.state, truth.listing(), truth.wall + 30)
    assert more == ()


@examples(500)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.004, 0.5, 20.0]), JUMPS), max_size=30), st.data()
)
def test_a_stream_without_loss_tells_each_transition_once_by_any_clock(
    acts: list[tuple[int, float, float]], data: st.DataObject
) -> None:
    watcher = Watcher()
    truth = watcher.truth
    for choice, seconds, jump in acts:
        seen = len(truth.events)
        if data.draw(st.booleans()):
            truth.offset += jump
        truth.act(choice, seconds)
        for event in truth.events[seen:]:
            watcher.see(event)
        if watcher.state.stale:  # as the watcher does
            watcher.see(Inspected("c1", truth.reading()))
    told, happened = Counter(kinds(watcher.said)), Counter(truth.happened)
    for kind in ("appeared", "removed", "paused", "unpaused"):
        assert told[kind] == happened[kind]
    for kind in ("started", "died"):
        assert told[kind] + watcher.unseen() == happened[kind], (kinds(watcher.said), truth.happened)
