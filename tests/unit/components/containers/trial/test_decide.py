"""The next act of a trial: whatever happens, the old container serves in the end, or the new one was kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.trial.decide import ENDS, Act, next_act
from aiidpd.components.containers.trial.journal import left_behind
from aiidpd.components.containers.trial.state import ImageTrial, Phase, Place, Situation
from aiidpd.contracts.trials import Wish

ENTRY = ImageTrial(
    "t1", "llm", "a" * 64, "sha256:1", "llm:2", "sha256:2", "1f", Phase.TRYING, 5.0, 1.0, "first"
)  # fmt: skip
MADE = replace(ENTRY, new="b" * 64)
STOPPED = replace(MADE, stopped=True)
SERVING = replace(STOPPED, new_run="second")


def place(text: str) -> Place | None:
    """Return the place of ``NAME`` or ``NAME RUN``, which runs."""
    if not text:
        return None
    name, _, run = text.partition(" ")
    names = {"old": ENTRY.old_name, "new": ENTRY.new_name, "beside": ENTRY.beside_name}
    return Place(names.get(name, name), bool(run), run)


@pytest.mark.parametrize(
    ("entry", "wish", "old", "new", "beside", "act"),
    [
        (ENTRY, "old", "llm first", "", "", Act.SERVES),
        (ENTRY, "new", "llm first", "", "", Act.CREATE_NEW),
        (MADE, "new", "llm first", "new", "", Act.STOP_OLD),
        (STOPPED, "new", "llm", "new", "", Act.RENAME_OLD),
        (STOPPED, "new", "old", "new", "", Act.NAME_NEW),
        (STOPPED, "new", "old", "llm", "", Act.START_NEW),
        (SERVING, "new", "old", "llm second", "", Act.SERVES),
        (SERVING, "keep", "old", "llm second", "", Act.KEEP),
        (SERVING, "old", "old", "llm second", "", Act.STOP_NEW),
        (STOPPED, "old", "old", "llm", "", Act.RENAME_NEW),
        (STOPPED, "old", "old", "new", "", Act.NAME_OLD),
        (STOPPED, "old", "llm", "new", "", Act.START_OLD),
        # Beside.
        (ENTRY, "beside", "llm first", "", "", Act.CREATE_BESIDE),
        (replace(ENTRY, beside="c"), "beside", "llm first", "", "beside", Act.START_BESIDE),
        (replace(ENTRY, beside="c", new_run="x"), "beside", "llm first", "", "beside x", Act.SERVES),
        (replace(ENTRY, beside="c", new_run="x"), "new", "llm first", "", "beside x", Act.STOP_BESIDE),
        (replace(ENTRY, beside="c"), "new", "llm first", "", "beside", Act.REMOVE_BESIDE),
        # Something has happened.
        (MADE, "new", "llm", "new", "", Act.RETURN),  # a person has stopped it
        (MADE, "new", "llm other", "new", "", Act.RETURN),  # a person has restarted it
        (SERVING, "new", "old", "llm", "", Act.RETURN),  # the new one has ended
        (SERVING, "new", "old", "llm third", "", Act.RETURN),  # it was started anew
        (SERVING, "keep", "old", "llm", "", Act.RETURN),
        (SERVING, "new", "old first", "llm second", "", Act.STOP_OLD),  # the runtime came back
        (SERVING, "new", "old", "", "", Act.RETURN),
        (SERVING, "new", "", "llm second", "", Act.RETURN),
        (SERVING, "new", "theirs", "llm second", "", Act.RETURN),
        (replace(SERVING, barred=True), "new", "old", "llm", "", Act.RETURN),
        (SERVING, "back", "old", "llm second", "", Act.RETURN),
    ],
)
def test_while_it_is_tried(entry: ImageTrial, wish: str, old: str, new: str, beside: str, act: Act) -> None:
    assert next_act(entry, Situation(place(old), place(new), place(beside)), Wish(wish))[0] is act


@pytest.mark.parametrize(
    ("entry", "old", "new", "taken", "act"),
    [
        (SERVING, "old", "llm second", False, Act.STOP_NEW),
        (SERVING, "old", "llm", False, Act.RENAME_NEW),
        (SERVING, "old", "new", False, Act.NAME_OLD),
        (SERVING, "llm", "new", False, Act.START_OLD),
        (SERVING, "llm third", "new", False, Act.REMOVE_NEW),
        (SERVING, "llm third", "", False, Act.RETURNED),
        (SERVING, "old", "new", True, Act.REMOVE_NEW),
        (SERVING, "old", "", True, Act.REPLACED),
        (MADE, "llm", "", False, Act.RETURNED),  # a person has stopped it: it stays down
        (replace(SERVING, barred=True), "llm", "", False, Act.RETURNED),
        (SERVING, "", "llm second", False, Act.GONE),
        (SERVING, "", "llm", False, Act.START_NEW),
        (SERVING, "", "new", False, Act.NAME_NEW),
        (MADE, "", "new", False, Act.REMOVE_NEW),
        (SERVING, "", "", False, Act.GONE),
    ],
)
def test_on_the_way_back(entry: ImageTrial, old: str, new: str, taken: bool, act: Act) -> None:
    entry = replace(entry, phase=Phase.RETURNING)
    assert next_act(entry, Situation(place(old), place(new), None, taken), Wish.NEW)[0] is act


@pytest.mark.parametrize(
    ("old", "new", "act"),
    [
        ("old", "llm second", Act.REMOVE_OLD),
        ("old first", "llm second", Act.STOP_OLD),
        ("", "llm second", Act.KEPT),
        ("", "llm", Act.START_NEW),
        ("old", "llm", Act.RETURN),
        ("old", "", Act.RETURN),
        ("", "", Act.GONE),
    ],
)
def test_once_it_is_kept(old: str, new: str, act: Act) -> None:
    entry = replace(SERVING, phase=Phase.KEEPING)
    assert next_act(entry, Situation(place(old), place(new)), Wish.BACK)[0] is act


@dataclass
class World:
    """Containers by id, as a runtime has them, and what a daemon has on its disk."""

    disk: ImageTrial = ENTRY
    entry: ImageTrial = ENTRY
    containers: dict[str, tuple[str, str]] = field(default_factory=lambda: {ENTRY.old: ("llm", "first")})
    runs: int = 1
    crashes: bool = False  # the new image ends at once
    meddled: bool = False
    ended: Act | None = None
    acts: Counter[Act] = field(default_factory=Counter)

    def seen(self) -> Situation:
        def one(identity: str) -> Place | None:
            found = self.containers.get(identity)
            return None if found is None else Place(found[0], bool(found[1]), found[1])

        ours = (self.entry.old, "new", "beside")
        taken = any(found[0] == "llm" for key, found in self.containers.items() if key not in ours)
        return Situation(one(self.entry.old), one("new"), one("beside"), taken)

    def save(self, **fields: object) -> None:
        self.disk = self.entry = replace(self.entry, **fields)

    def start(self, key: str) -> str:
        self.runs += 1
        run = "" if self.crashes and key != self.entry.old else f"run {self.runs}"
        self.containers[key] = (self.containers[key][0], run)
        return f"run {self.runs}"

    def step(self, wish: Wish, *, killed: bool = False) -> None:
        """Do one act; ``killed``: the process ends before it could note that on its disk."""
        if self.ended is not None:
            return
        seen, entry = self.seen(), self.entry
        if entry.stopped and seen.old and seen.old.runs and not entry.new_run and seen.old.name == "llm":
            entry = self.entry = replace(entry, run=seen.old.run)
        act, _ = next_act(entry, seen, wish)
        self.acts[act] += 1
        if act in ENDS:
            self.ended = act
            return
        names = {
            Act.RENAME_OLD: (entry.old, entry.old_name),
            Act.NAME_OLD: (entry.old, "llm"),
            Act.RENAME_NEW: ("new", entry.new_name),
            Act.NAME_NEW: ("new", "llm"),
        }
        match act:
            case Act.CREATE_NEW | Act.CREATE_BESIDE:
                key = "new" if act is Act.CREATE_NEW else "beside"
                name = entry.new_name if key == "new" else entry.beside_name
                self.containers[key] = (name, "")
                if not killed:
                    self.save(**{key: key})
            case Act.STOP_OLD | Act.STOP_NEW | Act.STOP_BESIDE:
                if act is Act.STOP_OLD:
                    self.save(stopped=True)
                key = {Act.STOP_OLD: entry.old, Act.STOP_NEW: "new"}.get(act, "beside")
                self.containers[key] = (self.containers[key][0], "")
                if act is not Act.STOP_OLD and not killed:
                    self.save(new_run="")
            case Act.START_OLD:
                self.start(entry.old)
            case Act.START_NEW | Act.START_BESIDE:
                run = self.start("new" if act is Act.START_NEW else "beside")
                if not killed:
                    self.save(new_run=run)
            case Act.REMOVE_OLD | Act.REMOVE_NEW | Act.REMOVE_BESIDE:
                key = {Act.REMOVE_OLD: entry.old, Act.REMOVE_NEW: "new"}.get(act, "beside")
                assert not self.containers[key][1], f"{act} of one that runs"
                del self.containers[key]
                if act is Act.REMOVE_BESIDE and not killed:
                    self.save(beside="", new_run="")
            case Act.KEEP | Act.RETURN:
                self.save(phase=Phase.KEEPING if act is Act.KEEP else Phase.RETURNING)
            case _ if act in names:
                key, name = names[act]
                assert all(found[0] != name for found in self.containers.values()), f"{name} is taken"
                self.containers[key] = (name, self.containers[key][1])
        if killed:
            self.entry = left_behind(self.disk)

    def meddle(self, what: str) -> None:
        """Do what somebody else does."""
        if what == "the runtime restarts":
            for key, (name, run) in list(self.containers.items()):
                self.runs += 1
                self.containers[key] = (name, f"run {self.runs}" if run else "")
        elif what == "the machine restarts":
            self.containers = {key: (name, "") for key, (name, _) in self.containers.items()}
        elif what == "all is started":  # restart policy always
            for key in self.containers:
                self.start(key)
        elif what == "the new one ends" and "new" in self.containers:
            self.containers["new"] = (self.containers["new"][0], "")
        elif what == "the new one is removed":
            self.containers.pop("new", None)

    def settle(self) -> None:
        for _ in range(60):
            self.step(Wish.BACK)
            if self.ended is not None:
                return
        raise AssertionError(self)


WISHES = st.sampled_from([Wish.OLD, Wish.BESIDE, Wish.NEW, Wish.NEW, Wish.NEW, Wish.KEEP, Wish.BACK])
MEDDLING = ("the runtime restarts", "the new one ends", "the new one is removed", "all is started")
EVENTS = st.lists(
    st.tuples(WISHES, st.integers(1, 8), st.sampled_from(["", "", "", "killed", *MEDDLING])), max_size=12
)


@given(EVENTS, st.booleans())
def test_in_the_end_the_old_one_serves_or_the_new_one_was_kept(
    events: list[tuple[Wish, int, str]], crashes: bool
) -> None:
    world = World(crashes=crashes)
    for wish, acts, what in events:
        for _ in range(acts):
            world.step(wish)
        if what == "killed":
            world.step(wish, killed=True)
        elif what:
            world.meddle(what)
    world.settle()
    old, new = world.containers.get(ENTRY.old), world.containers.get("new")
    if world.ended is Act.KEPT:
        assert new is not None
        assert (new[0], bool(new[1]), old) == ("llm", True, None)
    else:
        assert world.ended is Act.RETURNED
        assert old is not None
        assert (old[0], bool(old[1]), new) == ("llm", True, None)
    assert "beside" not in world.containers


@given(EVENTS)
def test_nothing_is_kept_that_nobody_wished_to_keep(events: list[tuple[Wish, int, str]]) -> None:
    world = World()
    for wish, acts, what in events:
        for _ in range(acts):
            world.step(Wish.NEW if wish is Wish.KEEP else wish, killed=what == "killed")
    world.settle()
    assert world.ended is Act.RETURNED


@given(EVENTS, st.sampled_from(["old", "new", "name"]), st.integers(0, 20))
def test_what_a_person_takes_away_ends_it(events: list[tuple[Wish, int, str]], which: str, at: int) -> None:
    world = World()
    for number, (wish, acts, _) in enumerate(events):
        if number == at:
            if which == "name" and all(name != "llm" for name, _ in world.containers.values()):
                world.containers["theirs"] = ("llm", "theirs")
            elif which == "old":
                world.containers.pop(ENTRY.old, None)
        for _ in range(acts):
            world.step(wish)
    world.settle()
    named = [found for found in world.containers.values() if found[0] == "llm"]
    assert len(named) <= 1
    if ENTRY.old in world.containers and world.ended is Act.RETURNED:
        assert all(run for _, run in named)


def test_a_trial_runs_its_whole_course() -> None:
    world = World()
    for wish in (Wish.OLD, Wish.BESIDE, Wish.NEW, Wish.OLD, Wish.NEW, Wish.KEEP):
        for _ in range(12):
            world.step(wish)
            assert world.entry.phase is not Phase.RETURNING
    assert world.ended is Act.KEPT
    assert world.acts[Act.START_OLD] == 1
