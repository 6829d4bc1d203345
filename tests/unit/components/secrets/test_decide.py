"""Rotations: whatever cuts them short, the server accepts each key that somebody holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.secrets.decide import (
    Action,
    Advance,
    Answer,
    Confirm,
    Finish,
    Notify,
    Observed,
    Restart,
    Stuck,
    Wait,
    WriteEngine,
    WriteUsers,
    step,
)
from aiidpd.components.secrets.registry import HAND
from aiidpd.components.secrets.state import (
    NoWayBack,
    Phase,
    Rotation,
    Which,
    advanced,
    begin,
    notified,
    turned_back,
)

PREVIOUS, NEXT = Which.PREVIOUS, Which.NEXT
BOTH = frozenset(Which)


@dataclass
class World:
    """A server, its file, and those who send it a key; a caller that is wrong at any moment is a failure."""

    engine_file: frozenset[Which] = frozenset({PREVIOUS})
    loaded: frozenset[Which] = frozenset({PREVIOUS})
    user_file: Which = PREVIOUS
    held: dict[str, Which] = field(default_factory=lambda: {"unit:web": PREVIOUS, HAND: PREVIOUS})
    up: bool = True
    journal: Rotation | None = field(default_factory=lambda: begin("KEY", 0.0, with_gap=False))
    restarts: int = 0
    restarted: bool = False

    def check(self) -> None:
        if self.up:
            assert set(self.held.values()) <= self.loaded
            assert self.user_file in self.loaded, "somebody may read it at any time"

    def restart(self) -> None:
        self.loaded, self.up, self.restarts = self.engine_file, True, self.restarts + 1
        self.check()

    def read(self, user: str) -> None:
        self.held[user] = self.user_file
        self.check()

    def observe(self) -> Observed:
        def answer(which: Which) -> Answer:
            if not self.up:
                return Answer.UNKNOWN
            return Answer.ACCEPTED if which in self.loaded else Answer.REFUSED

        return Observed(
            engine_keys=self.engine_file,
            user_keys=frozenset({self.user_file}),
            callers=tuple(self.held),
            previous=answer(PREVIOUS),
            next=answer(NEXT),
            wrong=Answer.REFUSED if self.up else Answer.UNKNOWN,
            restarted=self.restarted,
            confirmed=self.held[HAND] is self.user_file,
        )

    def act(self, action: Action) -> bool:
        """Carry out ``action`` but for the journal; return whether there was anything to do."""
        match action:
            case WriteEngine(keys):
                self.engine_file, self.restarted = frozenset(keys), False
            case WriteUsers(key):
                self.user_file = key
            case Restart():
                self.restart()
                self.restarted = True
            case Notify(user):
                self.read(user)
            case Confirm():
                self.read(HAND)  # the person does as requested
            case Wait():
                self.up = True
                self.restart()
            case Stuck():
                raise AssertionError(action)
            case _:
                return False
        self.check()
        return True

    def record(self, action: Action) -> None:
        """Bring the journal up to date after ``action``."""
        assert self.journal is not None
        match action:
            case Advance():
                self.journal = advanced(self.journal)
            case Notify(user):
                self.journal = notified(self.journal, user)
            case Finish():
                self.journal = None

    def happen(self, event: str, journal: Rotation) -> None:
        """Let ``event`` happen."""
        match event:
            case "step" | "crash":
                action = step(journal, self.observe())
                self.act(action)
                if event == "step":
                    self.record(action)
                else:
                    self.restarted = False  # this call is over before it could note what it did
            case "restart":
                self.restart()
            case "down":
                self.up = False
            case "back":
                if journal.phase is not Phase.CLEAN:
                    self.journal = turned_back(journal)
            case user:
                self.read(user)

    def go_on(self, steps: int = 60) -> None:
        for _ in range(steps):
            if self.journal is None:
                return
            action = step(self.journal, self.observe())
            self.act(action)
            self.record(action)
        raise AssertionError(f"no end: {self}")


def test_a_rotation_from_its_beginning_to_its_end() -> None:
    world = World()
    world.go_on()
    assert world.engine_file == world.loaded == {NEXT}
    assert set(world.held.values()) == {NEXT}
    assert world.restarts == 2


def test_a_server_that_was_restarted_by_somebody_else_is_not_restarted_again() -> None:
    world = World()
    assert world.journal is not None
    world.act(step(world.journal, world.observe()))
    world.restart()
    assert step(world.journal, world.observe()) == Advance()


@pytest.mark.parametrize("steps", range(11))
def test_it_goes_back_after_any_step(steps: int) -> None:
    world = World()
    for _ in range(steps):
        assert world.journal is not None
        world.happen("step", world.journal)
    assert world.journal is not None
    world.journal = turned_back(world.journal)
    world.go_on()
    assert world.engine_file == world.loaded == {PREVIOUS}
    assert set(world.held.values()) == {PREVIOUS}


def test_what_is_done_does_not_go_back() -> None:
    done = replace(begin("KEY", 0.0, with_gap=False), phase=Phase.CLEAN)
    with pytest.raises(NoWayBack):
        turned_back(done)
    back = turned_back(begin("KEY", 0.0, with_gap=False))
    assert turned_back(back) == back


def of(*kinds: str, most: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(kinds), max_size=most)


LIKELY = ("step", "step", "step", "crash", "restart", "down", "unit:web", HAND)
# Most rotations get far before somebody wants it back, if anybody does.
events = st.tuples(of(*LIKELY, most=25), of("back", most=1), of(*LIKELY, "back", most=25)).map(
    lambda parts: [each for part in parts for each in part]
)


@given(events)
def test_whatever_happens_in_between_nobody_is_ever_refused(happened: list[str]) -> None:
    world = World()
    for each in happened:
        if world.journal is not None:
            world.happen(each, world.journal)
            world.check()
    remains = world.user_file if world.journal is None else world.journal.remains
    world.go_on()
    assert world.engine_file == world.loaded == {remains}
    assert world.user_file is remains
    assert set(world.held.values()) == {remains}


def observed(**given: object) -> Observed:
    usual = {"engine_keys": BOTH, "user_keys": frozenset({PREVIOUS}), "callers": ("unit:web",)}
    return Observed(**(usual | given))  # type: ignore[arg-type]


def test_a_server_that_accepts_any_key_is_no_place_to_rotate_one() -> None:
    rotation = begin("KEY", 0.0, with_gap=False)
    assert isinstance(step(rotation, observed(wrong=Answer.ACCEPTED)), Stuck)


def test_a_server_that_does_not_read_the_file_is_restarted_once() -> None:
    rotation = begin("KEY", 0.0, with_gap=False)
    seen = observed(wrong=Answer.REFUSED, previous=Answer.ACCEPTED, next=Answer.REFUSED)
    assert step(rotation, seen) == Restart()
    stuck = step(rotation, replace(seen, restarted=True))
    assert isinstance(stuck, Stuck)
    assert "the next key is refused, the previous key is accepted" in stuck.reason


def test_what_does_not_answer_is_waited_for_with_the_reason() -> None:
    rotation = begin("KEY", 0.0, with_gap=False)
    assert step(rotation, observed(reason="it is loading")) == Wait("it is loading")


def test_a_file_that_holds_other_keys_is_written_anew() -> None:
    rotation = begin("KEY", 0.0, with_gap=False)
    assert step(rotation, observed(engine_keys=None)) == WriteEngine((PREVIOUS, NEXT))
    switching = replace(rotation, phase=Phase.SWITCH)
    assert step(switching, observed(user_keys=None)) == WriteUsers(NEXT)
    assert step(replace(rotation, phase=Phase.DROP), observed()) == WriteEngine((NEXT,))


def test_a_person_has_to_say_that_those_provided_by_hand_have_it() -> None:
    switching = replace(begin("KEY", 0.0, with_gap=False), phase=Phase.SWITCH)
    seen = observed(user_keys=frozenset({NEXT}), callers=(HAND, "unit:web"))
    assert step(switching, seen) == Notify("unit:web"), "those who can be notified are notified first"
    waiting = notified(switching, "unit:web")
    assert step(waiting, seen) == Confirm()
    assert step(waiting, replace(seen, confirmed=True)) == Notify(HAND)
    assert step(notified(waiting, HAND), seen) == Advance()


def test_one_key_at_a_time_has_a_gap_and_ends_all_the_same() -> None:
    rotation = begin("KEY", 0.0, with_gap=True)
    assert rotation.phase is Phase.SWITCH
    assert step(rotation, observed(user_keys=frozenset({PREVIOUS}))) == WriteUsers(NEXT)
    assert turned_back(rotation).phase is Phase.SWITCH
    unknown = observed(engine_keys=frozenset({NEXT}), verifiable=False)
    assert step(replace(rotation, phase=Phase.DROP), unknown) == Advance()
