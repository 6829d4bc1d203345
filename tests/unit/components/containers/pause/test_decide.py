"""When a container is paused and when it goes on: whatever happens, ours go on, and no others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.pause import decide
from aiidpd.components.containers.pause.decide import RETRY, step
from aiidpd.components.containers.pause.state import (
    Effect,
    Observed,
    Outcome,
    Pause,
    PauseState,
    Phase,
    Report,
    StartPause,
    Unpause,
)
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import PauseSettings
from aiidpd.contracts.messages import BackOffRequested
from tests.forms import examples
from tests.tables import made

SETTINGS = made(PauseSettings, longest=20.0, rest=10.0)
SETTLE = 5.0
TICK = 1.0
NAMES = ("vllm", "llama")


def ask(*names: str, until: float = 1e9) -> BackOffRequested:
    return BackOffRequested(
        reason="it is hot", gpu="GPU-a", label="GPU 0", hold_seconds=until, containers=names or ("vllm",)
    )


@dataclass
class Real:
    """A container as it truly is: ``by`` is who paused it, since when."""

    id: str
    name: str
    started_at: float = 1.0
    state: str = "running"
    by: str = ""
    since: float = 0.0
    ran_since: float = float("-inf")

    def reading(self) -> ContainerReading:
        return ContainerReading(self.id, self.name, "image", self.state, started_at=self.started_at)


@dataclass
class World:
    """Containers, an engine that answers or does not, and a daemon that steps through what it shows."""

    settings: PauseSettings = SETTINGS
    now: float = 100.0
    real: dict[str, Real] = field(default_factory=lambda: {n: Real(f"{n}-1", n) for n in NAMES})
    asks: tuple[BackOffRequested, ...] = ()
    state: PauseState = field(default_factory=PauseState)
    lease: tuple[Pause, ...] = ()
    said: list[Report] = field(default_factory=list)
    answers: bool = True  # whether the engine shows anything
    refuses: bool = False  # it answers calls with an error
    loses: bool = False  # it carries calls out, and its answer is lost
    slow: list[tuple[float, str]] = field(default_factory=list)  # pauses on their way, no longer than SETTLE
    keeps_calls: bool = False  # calls go on their way and are carried out later
    faultless_since: float = 100.0
    made: int = 1
    killed: bool = False

    def passes(self, seconds: float = TICK, closing: str = "") -> None:
        self.now += seconds
        if any(self.now >= at + SETTLE for at, _ in self.slow):
            self.late_calls_arrive()
        self.step(self.look(), closing)
        if self.asks and not closing and self.answers:
            self.step(Observed(named={one.name: one.reading() for one in self.real.values()}))

    def look(self) -> Observed:
        if not self.answers:
            return Observed()
        by_id = {one.id: one.reading() for one in self.real.values()}
        return Observed(held={key: by_id.get(key) for key, held in self.state.held.items() if held.called})

    def step(self, look: Observed, closing: str = "") -> None:
        standing = tuple(one for one in self.asks if self.now < one.hold_seconds)
        self.state, effects = step(self.state, look, standing, self.now, self.settings, closing=closing)
        self.said += [effect for effect in effects if isinstance(effect, Report)]
        self.lease = tuple(held.pause for held in self.state.held.values())
        for effect in effects:
            self.do(effect)
        self.lease = tuple(held.pause for held in self.state.held.values())

    def do(self, effect: Effect) -> None:
        if isinstance(effect, StartPause):
            identity = effect.held.pause.id
            assert effect.held.pause in self.lease, "it must be written down first"
            self.state = decide.calling(self.state, identity, self.now, SETTLE)
            self.call("pause", identity)
        elif isinstance(effect, Unpause):
            self.call("unpause", effect.held.pause.id)

    def call(self, action: str, identity: str) -> None:
        if self.keeps_calls and action == "pause":
            self.slow.append((self.now, identity))
        if not self.answers or self.refuses or self.keeps_calls:
            self.fail(identity)
            return
        done = self.carry_out(action, identity)
        if self.loses:
            self.fail(identity)
        elif action == "pause":
            self.state, said = decide.paused(self.state, identity, ours=done)
            self.said += said
        else:
            self.state, said = decide.unpaused(self.state, identity, self.now, self.settings.rest)
            self.said += said

    def fail(self, identity: str) -> None:
        self.state, said = decide.failed(self.state, identity, "no answer", self.now, SETTLE)
        self.said += said

    def carry_out(self, action: str, identity: str) -> bool:
        one = next((each for each in self.real.values() if each.id == identity), None)
        if one is None:
            return False
        if action == "pause" and one.state == "running":
            rested = self.now - one.ran_since
            assert rested >= self.settings.rest, f"paused again after {rested} s"
            one.state, one.by, one.since = "paused", "us", self.now
            return True
        if action == "unpause" and one.state == "paused":
            assert one.by == "us", "a pause of the user's was ended"
            one.state, one.by, one.ran_since = "running", "", self.now
            return True
        return False

    def late_calls_arrive(self) -> None:
        calls, self.slow, self.killed = self.slow, [], False
        for _, identity in calls:
            self.carry_out("pause", identity)

    def user(self, what: str, name: str) -> None:
        if self.killed:  # a call that a killed daemon left on its way reaches the run that it was meant for
            self.late_calls_arrive()
        one = self.real.get(name)
        if what == "make" and one is None:
            self.made += 1
            self.real[name] = Real(f"{name}-{self.made}", name, started_at=self.now)
        elif one is None:
            return
        elif what == "pause" and one.state == "running" and one.id not in self.state.held:
            # While we hold one nobody can tell whose pause it is: docs/operations.md says so.
            one.state, one.by = "paused", "user"
        elif what == "unpause" and one.state == "paused":
            if one.by == "us":
                one.ran_since = self.now
            one.state, one.by = "running", ""
        elif what == "restart":
            one.state, one.by, one.started_at = "running", "", self.now
            one.ran_since = float("-inf")
        elif what == "stop":
            one.state, one.by = "exited", ""
        elif what == "remove":
            del self.real[name]

    def crash(self) -> None:
        """Kill -9, and the next start."""
        self.killed = bool(self.slow)
        self.state = decide.resumed(PauseState(), self.lease, self.now, SETTLE)

    def ours(self) -> list[str]:
        return [one.name for one in self.real.values() if one.by == "us"]

    def words(self) -> list[Outcome]:
        return [one.outcome for one in self.said]


def test_what_is_asked_for_is_paused_and_goes_on_when_the_ask_ends() -> None:
    world = World(asks=(ask("vllm"),))
    world.passes()
    assert world.ours() == ["vllm"]
    assert [pause.id for pause in world.lease] == ["vllm-1"]
    world.passes()
    world.asks = ()
    world.passes()
    assert world.ours() == []
    assert world.lease == ()
    assert world.words() == [Outcome.PAUSED, Outcome.UNPAUSED]
    assert (world.said[1].reason, world.said[1].seconds) == ("nobody asks for it any more", 2.0)


def test_it_goes_on_when_nobody_renews_the_ask() -> None:
    world = World(asks=(ask("vllm", until=105.0),))
    world.passes()
    while world.now < 104:
        world.passes()
        assert world.ours() == ["vllm"]
    world.passes()
    assert world.ours() == []


def test_however_long_it_is_hot_a_pause_ends_and_the_clients_get_their_time() -> None:
    world = World(asks=(ask("vllm"),))
    paused = 0
    for _ in range(300):
        world.passes()
        paused += bool(world.ours())
    assert 0.6 < paused / 300 <= 20 / 30 + 0.01
    assert world.words().count(Outcome.PAUSED) == 10
    assert "the longest" in world.said[1].reason


def test_one_that_the_user_paused_is_never_touched() -> None:
    world = World(asks=(ask("vllm"),))
    world.user("pause", "vllm")
    for _ in range(100):
        world.passes()
    world.asks = ()
    world.passes()
    assert world.real["vllm"].by == "user"
    assert world.said == []


def test_one_that_the_user_pauses_at_the_same_moment_is_his() -> None:
    world = World(asks=(ask("vllm"),))
    before = {"vllm": world.real["vllm"].reading()}
    world.user("pause", "vllm")
    world.step(Observed(named=before))
    assert world.real["vllm"].by == "user"
    assert world.state.held == {}
    assert world.said == []


def test_one_that_the_user_let_go_on_is_left_alone_until_the_ask_ends() -> None:
    world = World(asks=(ask("vllm"),))
    world.passes()
    world.user("unpause", "vllm")
    for _ in range(100):
        world.passes()
        assert world.ours() == []
    assert world.words() == [Outcome.PAUSED, Outcome.UNPAUSED]
    assert "somebody else" in world.said[1].reason
    world.asks = ()
    world.passes()
    world.asks = (ask("vllm"),)
    world.passes()
    assert world.ours() == ["vllm"]


def test_one_that_was_removed_or_restarted_is_ours_no_longer() -> None:
    for what in ("remove", "restart", "stop"):
        world = World(asks=(ask("vllm"),))
        world.passes()
        world.user(what, "vllm")
        world.passes()
        assert world.state.held == {}
        assert world.words()[:2] == [Outcome.PAUSED, Outcome.LOST]


def test_another_run_that_the_user_paused_is_not_let_go_on() -> None:
    world = World(asks=(ask("vllm"),))
    world.passes()
    world.user("restart", "vllm")
    world.real["vllm"].state, world.real["vllm"].by = "paused", "user"
    world.asks = ()
    for _ in range(10):
        world.passes()
    assert world.real["vllm"].by == "user"


def test_a_call_whose_answer_was_lost_is_found_out() -> None:
    world = World(asks=(ask("vllm"),), loses=True)
    world.passes()
    assert world.words() == [Outcome.NOT_PAUSED]
    world.passes()
    assert world.words() == [Outcome.NOT_PAUSED, Outcome.PAUSED]
    world.asks = ()
    world.passes()
    world.passes()
    assert world.ours() == []
    assert world.lease == ()


def test_a_call_that_is_carried_out_late_is_ours_all_the_same() -> None:
    world = World(asks=(ask("vllm"),), keeps_calls=True)
    world.passes()
    world.asks = ()
    world.passes()
    world.passes()
    assert world.lease, "it may still come"
    world.late_calls_arrive()
    world.keeps_calls = False
    world.passes()
    assert world.ours() == []


def test_one_that_can_t_be_paused_is_told_once_and_tried_again_after_a_rest() -> None:
    world = World(asks=(ask("vllm"),), refuses=True)
    for _ in range(14):
        world.passes()
    assert world.words() == [Outcome.NOT_PAUSED]
    assert world.state.held == {}
    for _ in range(2):
        world.passes()
    assert world.words() == [Outcome.NOT_PAUSED] * 2


def test_one_that_does_not_go_on_is_told_once_and_tried_until_it_does() -> None:
    world = World(asks=(ask("vllm"),))
    world.passes()
    world.asks, world.refuses = (), True
    for _ in range(50):
        world.passes()
    assert world.words() == [Outcome.PAUSED, Outcome.NOT_UNPAUSED]
    assert world.lease
    world.refuses = False
    world.passes()
    assert world.ours() == []


def test_an_engine_that_shows_nothing_is_waited_for() -> None:
    world = World(asks=(ask("vllm"),))
    world.passes()
    world.answers, world.asks = False, ()
    for _ in range(50):
        world.passes()
    assert world.lease
    world.answers = True
    world.passes()
    assert world.ours() == []


def test_a_name_that_no_container_has_is_told_once_an_ask() -> None:
    world = World(asks=(ask("nobody"),))
    for _ in range(5):
        world.passes()
    assert world.words() == [Outcome.MISSING]
    world.asks = ()
    world.passes()
    world.asks = (ask("nobody"),)
    world.passes()
    assert world.words() == [Outcome.MISSING] * 2


def test_what_could_not_be_written_down_is_not_begun() -> None:
    look = Observed(named={"vllm": Real("vllm-1", "vllm").reading()})
    state, _ = step(PauseState(), look, (ask("vllm"),), 0.0, SETTINGS)
    state = decide.not_written(state, "vllm-1", 0.0)
    assert not state.held
    assert not step(state, look, (ask("vllm"),), 1.0, SETTINGS)[1]
    _, effects = step(state, look, (ask("vllm"),), RETRY, SETTINGS)
    assert isinstance(effects[0], StartPause)


def test_one_that_was_not_asked_for_yet_is_given_up_at_once() -> None:
    look = Observed(named={"vllm": Real("vllm-1", "vllm").reading()})
    state, _ = step(PauseState(), look, (ask("vllm"),), 0.0, SETTINGS)
    assert state.held["vllm-1"].phase is Phase.BEGINNING
    state, effects = step(state, Observed(), (ask("vllm"),), 0.0, SETTINGS, closing="the end")
    assert not state.held
    assert not effects


@dataclass
class Did:
    """One thing that happens to the world."""

    what: str
    name: str = "vllm"
    value: Any = None


USER = ("pause", "unpause", "restart", "stop", "remove", "make")
ENGINE = st.sampled_from(("well", "silent", "refuses", "loses", "keeps"))
HAPPENINGS = st.one_of(
    st.builds(Did, st.just("pass"), value=st.sampled_from((0.25, 1.0, 3.0, 12.0))),
    st.builds(Did, st.just("pass"), value=st.just(1.0)),
    st.builds(Did, st.sampled_from(USER), st.sampled_from(NAMES)),
    st.builds(Did, st.sampled_from(("pause", "unpause", "restart"))),
    st.builds(Did, st.just("ask"), value=st.sampled_from(((), ("vllm",), ("llama", "vllm")))),
    st.builds(Did, st.just("engine"), value=ENGINE),
    st.builds(Did, st.sampled_from(("crash", "late", "close"))),
)


@st.composite
def stories(draw: st.DrawFn) -> list[Did]:
    """What happens, beginning with what most of it is about: an ask, and an engine in some state."""
    begin = [Did("ask", value=("vllm",)), Did("engine", value=draw(ENGINE)), Did("pass", value=1.0)]
    return begin + draw(st.lists(HAPPENINGS, min_size=4, max_size=40))


def happen(world: World, did: Did) -> None:
    if did.what == "pass":
        world.passes(did.value)
    elif did.what == "ask":
        world.asks = (ask(*did.value, until=world.now + 30),) if did.value else ()
    elif did.what == "engine":
        world.answers = did.value != "silent"
        world.refuses, world.loses = did.value == "refuses", did.value == "loses"
        world.keeps_calls = did.value == "keeps"
        world.faultless_since = world.now if did.value == "well" else float("inf")
    elif did.what == "crash":
        world.crash()
    elif did.what == "late":
        world.late_calls_arrive()
    elif did.what == "close":  # a reload, or a worker that failed
        world.passes(0.0, closing="it ends")
        world.crash()
    else:
        world.user(did.what, did.name)


@examples(600)
@given(stories())
def test_whatever_happens_what_we_paused_goes_on_and_nothing_else(happenings: list[Did]) -> None:
    world = World()
    # After a crash nobody remembers when it last ran; and the world does not forget what a late call does.
    crashes = any(did.what in ("crash", "close", "late") for did in happenings)
    if crashes:
        world.settings = made(PauseSettings, longest=20.0, rest=1e-9)
    for did in happenings:
        happen(world, did)
        leased = {pause.id for pause in world.lease}
        assert {one.id for one in world.real.values() if one.by == "us"} <= leased, "it is not written down"
        if did.what == "pass" and world.faultless_since <= world.now - did.value:
            for one in world.real.values():
                longest = world.settings.longest + did.value
                assert one.by != "us" or world.now - one.since <= longest, "paused for too long"
    user = [one.name for one in world.real.values() if one.by == "user"]
    world.late_calls_arrive()
    happen(world, Did("engine", value="well"))
    world.asks = ()
    for _ in range(10):
        world.passes()
    assert world.ours() == []
    assert world.lease == ()
    assert [one.name for one in world.real.values() if one.by == "user"] == user


@given(st.lists(st.tuples(st.sampled_from(("vllm", "llama")), st.booleans()), max_size=20))
def test_as_many_are_told_to_go_on_as_were_told_to_be_paused(asked: list[tuple[str, bool]]) -> None:
    world = World()
    for name, user in asked:
        world.asks = (ask(name),)
        world.passes()
        if user:
            world.user("unpause", name)
    world.asks = ()
    world.passes(SETTINGS.rest)
    assert world.words().count(Outcome.PAUSED) == world.words().count(Outcome.UNPAUSED)
    assert set(world.words()) <= {Outcome.PAUSED, Outcome.UNPAUSED}
