"""When a container is healed, when it is not, and when it is parked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.heal import progress
from aiidpd.components.containers.heal.record import records, restored
from aiidpd.components.containers.heal.state import Action, Outcome, Suspension, Topic
from aiidpd.components.containers.settings import HealRule
from aiidpd.contracts.engines import Verdict
from aiidpd.contracts.messages import Cure
from tests.unit.components.containers.heal.world import World


def sick(name: str = "vllm", **settings: object) -> World:
    world = World(**settings)
    world.add(name)
    world.look()
    world.change(name, health="unhealthy")
    return world


def test_an_unhealthy_container_is_healed_and_its_outcome_published() -> None:
    world = sick()
    world.look()
    assert world.begun() == ["vllm"]
    assert world.decisions["vllm"].action is Action.HEAL
    world.act("vllm")
    world.look(3)
    assert world.outcomes() == [Outcome.HEALED]
    world.look(60)
    assert world.begun() == ["vllm"]
    assert world.decisions["vllm"].action is Action.NOTHING


@pytest.mark.parametrize("mode", ["notify", "off"])
def test_what_is_not_to_be_healed_is_not(mode: str) -> None:
    world = sick(mode=mode)
    for _ in range(3):
        world.look(600)
    assert world.begun() == []
    advised = world.reports(Topic.HEAL_ADVISED)
    assert len(advised) == (mode == "notify"), "once, not at each look"
    if advised:
        assert "aiidpd.heal=restart" in advised[0].reason


def test_the_grace_counts_from_the_start() -> None:
    world = World(grace=300.0)
    world.add("vllm", age=10)
    world.look()
    world.change("vllm", health="unhealthy")
    world.look()
    assert world.decisions["vllm"].action is Action.WAIT
    assert world.decisions["vllm"].until == pytest.approx(world.time + 290)
    world.look(289)
    assert world.begun() == []
    world.look(1.5)
    assert world.begun() == ["vllm"]


def test_a_hung_engine_needs_no_grace_and_is_not_drained() -> None:
    world = World()
    world.add("vllm", age=1, health=None)
    world.look()
    world.ask("vllm")
    world.look()
    ((_, heal),) = world.heals
    assert heal.fault.hung
    assert heal.fault.evidence == {"steps": 7}
    world.act("vllm")
    world.change("vllm", health=None)
    world.verdicts["id-vllm"] = Verdict.LOADING
    world.look(120)
    assert world.outcomes() == []
    world.verdicts["id-vllm"] = Verdict.IDLE
    world.look(1)
    assert world.outcomes() == [Outcome.HEALED]


def test_a_lost_gpu_needs_a_new_container_which_must_be_allowed() -> None:
    world = World()
    world.add("vllm")
    world.add("llama", labels={"heal": "recreate"})
    world.look()
    world.ask("vllm", "container_gpu_lost", Cure.RECREATE)
    world.ask("llama", "container_gpu_lost", Cure.RECREATE)
    world.look()
    assert world.begun() == ["llama"]
    assert world.heals[0][1].cure is Cure.RECREATE
    assert "aiidpd.heal=recreate" in world.decisions["vllm"].reason


def test_after_a_restart_that_did_not_help_it_is_created_anew_where_that_is_allowed() -> None:
    world = sick(mode="recreate", grace=20.0)
    world.look()
    world.act("vllm", well=False)
    for _ in range(60):
        world.look(1)
    assert world.outcomes() == [Outcome.FAILED]
    assert [heal.cure for _, heal in world.heals] == [Cure.RESTART, Cure.RECREATE]


def test_heals_that_fail_back_off_and_are_parked_when_the_budget_is_spent() -> None:
    world = sick(budget="4/1h", grace=1.0, backoff_initial=10.0, backoff_cap=1000.0)
    for _ in range(300):
        world.look(1)
        if world.state.tracks["id-vllm"].heal is not None and world.decisions["vllm"].action is Action.HEAL:
            world.act("vllm", well=False)
    times = [at for at, _ in world.heals]
    assert len(times) == 4
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # Ten seconds to be well, then 10, 20 and 40 of waiting.
    assert gaps == pytest.approx([20, 30, 50], abs=3)
    assert world.decisions["vllm"].action is Action.PARKED
    (parked,) = world.reports(Topic.HEAL_PARKED)
    assert "unpark vllm" in parked.remedy
    world.look(7200)
    assert world.decisions["vllm"].action is Action.PARKED, "until a person does something"


def parked() -> World:
    world = sick(budget="1/1h", grace=1.0)
    world.look()
    world.act("vllm", well=False)
    world.look(20)
    world.look(20)
    assert world.decisions["vllm"].action is Action.PARKED
    return world


def test_a_person_who_starts_it_gives_it_a_new_budget() -> None:
    world = parked()
    world.start("vllm")
    world.look(5)
    assert [each.reason for each in world.reports(Topic.HEAL_UNPARKED)] == ["somebody started it"]
    world.change("vllm", health="unhealthy")
    world.look(5)
    assert len(world.heals) == 2


def test_a_person_who_unparks_it_does_so_too() -> None:
    world = parked()
    world.state, effects = progress.unpark(world.state, "id-vllm", "root")
    assert len(effects) == 1
    world.look(1)
    assert len(world.heals) == 2


def test_one_that_was_well_for_a_whole_window_is_not_parked_any_more() -> None:
    world = parked()
    world.change("vllm", health="healthy")
    for _ in range(59):
        world.look(60)
    assert world.decisions["vllm"].action is Action.PARKED
    for _ in range(3):
        world.look(60)
    assert world.decisions["vllm"].action is Action.NOTHING


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("uptime", [2.0, 60.0, 400.0])
def test_a_crash_loop_is_stopped_within_its_budget(uptime: float, waits: bool) -> None:
    world = World(budget="5/1h")
    world.add("vllm", health=None)
    world.look()
    for _ in range(5):
        assert world.loops_stopped() == []
        world.look(uptime)
        world.die("vllm", waits=waits)
        world.look()
        if waits:
            world.time += 1
            world.start("vllm", restart_count=world.containers["vllm"].restart_count)
            world.look()
    assert world.loops_stopped() == ["vllm"]
    assert world.decisions["vllm"].action is Action.PARKED
    assert "restart loop stopped" in world.decisions["vllm"].reason
    assert world.begun() == []
    world.change("vllm", state="exited", health=None, exit_code=143)
    world.stopped.add("id-vllm")
    world.state = progress.stopped_loop(world.state, "id-vllm")
    world.look(10)
    assert world.decisions["vllm"].action is Action.PARKED
    world.start("vllm", None)
    world.look(1)
    assert world.decisions["vllm"].action is Action.NOTHING


@pytest.mark.parametrize("awaiting", [False, True])
def test_a_crash_loop_is_counted_over_restarts_of_the_daemon(awaiting: bool) -> None:
    world = World(budget="5/1h")
    world.add("vllm", health=None)
    world.look()
    for number in range(5):
        world.look(60)
        world.die("vllm", waits=awaiting)
        if number % 2 == 0:  # else it died while nobody watched
            world.look()
        world.state = restored(records(world.state), world.time, 600.0)
        world.look(1)
        if awaiting:
            world.start("vllm", restart_count=world.containers["vllm"].restart_count)
            world.state = restored(records(world.state), world.time, 600.0)
            world.look(1)
    assert world.loops_stopped() == ["vllm"]


def test_a_loop_of_one_that_may_not_be_touched_is_said_once() -> None:
    world = World(mode="notify", budget="3/1h")
    world.add("vllm", health=None)
    world.look()
    for _ in range(9):
        world.look(90)
        world.die("vllm")
        world.look()
    assert world.loops_stopped() == []
    assert len(world.reports(Topic.HEAL_ADVISED)) == 1


def test_restarts_by_a_person_are_no_loop() -> None:
    world = World(budget="2/1h")
    world.add("vllm", health=None)
    world.look()
    for _ in range(20):
        world.look(5)
        world.start("vllm")
        world.look()
    assert world.loops_stopped() == []


def test_what_a_person_stopped_is_respected() -> None:
    world = World()
    world.add("vllm", health=None)
    world.look()
    world.stopped.add("id-vllm")
    world.change("vllm", state="exited", exit_code=137)
    for _ in range(5):
        world.look(600)
    assert world.begun() == []
    assert world.decisions["vllm"].action is Action.NOTHING


def test_one_that_a_person_stops_while_it_is_verified_is_respected() -> None:
    world = sick()
    world.look()
    world.act("vllm")
    world.change("vllm", state="exited", health=None, exit_code=143)
    world.stopped.add("id-vllm")
    world.look(2)
    assert world.outcomes() == [Outcome.INTERRUPTED]
    world.look(600)
    assert len(world.heals) == 1


def test_one_that_ends_again_has_not_been_healed() -> None:
    world = sick()
    world.look()
    world.act("vllm")
    world.change("vllm", state="exited", health=None, exit_code=1)
    world.look(2)
    assert world.outcomes() == [Outcome.FAILED]


def test_a_container_that_is_removed_while_it_is_healed_harms_nothing() -> None:
    for steps in range(3):
        world = sick()
        world.add("other")
        world.look()
        if steps > 0:
            world.act("vllm")
        del world.containers["vllm"]
        world.look(1)
        world.look(5)
        if steps == 0:  # whoever carries it out finds that out
            world.state, effects = progress.ended(
                world.state, "id-vllm", Outcome.GONE, "gone", now=world.time, settings=world.settings
            )
            world.effects += effects
        assert world.outcomes() == [Outcome.GONE]
        assert world.state.tracks.keys() == {"id-other"}


def test_the_work_of_others_is_not_disturbed() -> None:
    world = World(cooldown=60.0)
    for name in ("web", "db"):
        world.add(name, project="home", service=name)
    world.add("alone")
    world.look()
    for name in ("web", "alone"):
        world.change(name, health="unhealthy")
    world.add("new", project="home", age=0.0)  # compose up, or Watchtower
    world.look()
    assert world.begun() == ["alone"]
    assert world.decisions["web"].action is Action.WAIT
    world.look(59)
    assert world.begun() == ["alone"]
    del world.containers["new"]
    world.look(0.5)
    world.look(59)
    assert world.begun() == ["alone"]
    world.look(2)
    assert world.begun() == ["alone", "web"]


@pytest.mark.parametrize("how", ["renamed", "started", "replaced"])
def test_one_that_others_have_just_changed_is_left_alone(how: str) -> None:
    world = World(cooldown=60.0, grace=0.0)
    world.add("vllm")
    world.look()
    if how == "renamed":
        world.containers["vllm-old"] = replace(world.containers.pop("vllm"), name="vllm-old")
    elif how == "started":
        world.start("vllm")
    else:
        world.containers["vllm"] = replace(world.containers["vllm"], id="other", started_at=world.time)
    name = next(iter(world.containers))
    world.change(name, health="unhealthy")
    world.look()
    assert world.decisions[name].action is Action.WAIT
    world.look(61)
    assert world.begun() == [name]


def test_quiet_hours_and_suspension_hold_it_off() -> None:
    world = sick(quiet_hours="08:00-18:00")
    world.minute = 9 * 60
    world.look()
    assert "quiet hours" in world.decisions["vllm"].reason
    world.minute = 18 * 60
    world.state = progress.suspend(world.state, Suspension("vllm", world.time, world.time + 100, "ada"))
    world.look()
    assert world.decisions["vllm"].reason == "ada has suspended its healing"
    world.look(99)
    assert world.begun() == []
    world.look(2)
    assert world.begun() == ["vllm"]


def test_while_another_image_is_tried_in_its_place_it_is_left_alone() -> None:
    world = sick()
    world.tried.add("vllm")
    world.look()
    assert world.decisions["vllm"].reason == "another image is tried in its place"
    world.look(1000)
    assert world.begun() == []
    world.tried.clear()
    world.look()
    assert world.begun() == ["vllm"]


def test_only_so_many_are_healed_at_once() -> None:
    world = World(concurrent=2)
    for number in range(5):
        world.add(f"c{number}")
    world.look()
    for number in range(5):
        world.change(f"c{number}", health="unhealthy")
    world.look()
    assert len(world.heals) == 2
    world.act("c0")
    world.look(1)
    world.look(1)
    assert len(world.heals) == 3


def test_what_others_need_is_healed_first() -> None:
    world = World(concurrent=9)
    world.add("app", labels={"depends-on": "db"})
    world.add("db")
    world.add("web", labels={"depends-on": "app"})
    world.look()
    for name in world.containers:
        world.change(name, health="unhealthy")
    world.look()
    assert world.begun() == ["db"]
    world.act("db")
    world.look(1)
    world.look(1)
    assert world.begun() == ["db", "app"]
    world.act("app")
    world.look(1)
    world.look(1)
    assert world.begun() == ["db", "app", "web"]


def test_nothing_is_healed_while_what_it_needs_is_down() -> None:
    world = World()
    world.add("app", labels={"depends-on": "db,nobody"})
    world.add("db", state="exited", health=None, exit_code=0)
    world.look()
    world.change("app", health="unhealthy")
    world.look()
    assert world.decisions["app"].reason == "it depends on nobody, and there is no such container"
    world.add("nobody")
    world.look()
    assert world.decisions["app"].reason == "db, which it depends on, does not run"
    assert world.begun() == []


def test_whoever_follows_is_restarted_after_a_heal() -> None:
    world = World()
    world.add("app", labels={"depends-on": "db", "follow-restarts": "true"})
    world.add("other", labels={"depends-on": "db"})
    world.add("db", health="unhealthy")
    world.look()
    assert world.begun() == ["db"]
    world.act("db")
    world.look(1)
    world.look(1)
    assert world.begun() == ["db", "app"]
    world.act("app")
    for _ in range(5):
        world.look(60)
    assert world.begun() == ["db", "app"]


def test_a_cycle_is_not_healed() -> None:
    world = World()
    world.add("a", labels={"depends-on": "b"}, health="unhealthy")
    world.add("b", labels={"depends-on": "a"})
    world.look()
    assert world.decisions["a"].action is Action.NOTIFY
    assert "a -> b -> a" in world.decisions["a"].reason


def test_one_whose_network_was_lost_is_restarted_or_created_anew() -> None:
    world = World(mode="recreate")
    world.add("vpn", health=None)
    world.add("app", health=None, network_mode="container:id-vpn", age=10)
    world.look()
    world.start("vpn", health=None)
    world.look(5)
    assert [heal.cure for _, heal in world.heals] == [Cure.RESTART]
    world.act("app")
    world.look(1)
    del world.containers["vpn"]
    world.look(1)
    world.look(30)
    assert [heal.cure for _, heal in world.heals] == [Cure.RESTART, Cure.RECREATE]


def test_an_orphan_that_could_not_start_is_started_once_its_network_is_there() -> None:
    world = World()
    world.add("vpn", state="exited", health=None, exit_code=1)
    world.add("app", state="exited", health=None, exit_code=128, network_mode="container:id-vpn")
    world.look()
    assert world.begun() == []
    world.start("vpn", health=None)
    world.look(1)
    assert world.begun() == ["app"]
    assert "whose network it shares" in world.heals[0][1].fault.reason


def test_a_dry_run_says_what_it_would_do_and_does_nothing() -> None:
    world = sick(dry_run=True)
    for _ in range(5):
        world.look(60)
    assert world.begun() == []
    (said,) = world.reports(Topic.HEAL_DRY_RUN)
    assert "would be restarted" in said.reason


def test_a_reading_from_before_the_heal_is_no_news() -> None:
    world = sick()
    world.look()
    before = world.containers["vllm"]
    world.act("vllm")
    after = world.containers["vllm"]
    world.containers["vllm"] = before  # a slow reading
    world.look(0.1)
    world.look(0.1)
    assert world.reports(Topic.HEAL_UNPARKED) == []
    world.containers["vllm"] = after
    world.look(1)
    assert world.outcomes() == [Outcome.HEALED]


def test_a_container_that_is_created_anew_has_its_budget_on() -> None:
    world = World(mode="recreate")
    world.add("vllm")
    world.look()
    world.ask("vllm", "container_gpu_lost", Cure.RECREATE)
    world.look()
    world.state = progress.prepared(world.state, "id-vllm", cure=Cure.RECREATE, incident="", now=world.time)
    old = world.containers["vllm"]
    world.containers["old"] = replace(old, name="vllm-old", state="exited")
    world.containers["vllm"] = replace(old, id="new", started_at=world.time)
    world.look(1)
    assert "new" not in world.state.tracks, "whoever creates it says which it is"
    del world.containers["old"]
    world.requests.clear()
    world.state = progress.acted(world.state, "id-vllm", world.containers["vllm"], world.time)
    world.look(1)
    assert world.state.tracks.keys() == {"new"}
    assert len(world.state.tracks["new"].heals) == 1
    assert world.outcomes() == [Outcome.HEALED]


def test_a_rule_has_quiet_hours_of_its_own() -> None:
    world = sick(rules=(HealRule(container="vllm", quiet_hours="00:00-01:00"),))
    world.look()
    assert world.decisions["vllm"].action is Action.WAIT


EVENTS = st.sampled_from(["sick", "well", "die", "stop", "start", "act", "remove", "ask", "wait", "restore"])


class Life:
    """Events of three containers, one of which may be healed."""

    def __init__(self) -> None:
        self.world = World(budget="3/10m", grace=5.0, concurrent=1, cooldown=0.0)
        for name, mode in (("acts", "restart"), ("notifies", "notify"), ("off", "off")):
            self.world.add(name, labels={"heal": mode})
        self.world.look()
        self.resets = [0.0]
        self.acted: list[float] = []

    def happens(self, kind: str, name: str) -> None:
        world = self.world
        if name not in world.containers:
            return
        running = world.containers[name].running
        if kind == "start" and not running:
            world.start(name)
            self.resets.append(world.time)
        elif kind == "remove":
            del world.containers[name]
            world.requests.pop(f"id-{name}", None)
        elif running:
            self._runs(kind, name)

    def _runs(self, kind: str, name: str) -> None:
        world = self.world
        match kind:
            case "sick":
                world.change(name, health="unhealthy")
            case "well":
                world.change(name, health="healthy")
            case "die":
                world.die(name)
            case "ask":
                world.ask(name)
            case "stop":
                world.change(name, state="exited", health=None, exit_code=143)
                world.stopped.add(f"id-{name}")

    def act(self, name: str, *, well: bool) -> None:
        track = self.world.state.tracks.get(f"id-{name}")
        if name in self.world.containers and track and track.heal and track.heal.phase == "preparing":
            self.acted.append(self.world.time)
            self.world.act(name, well=well)


@given(st.lists(st.tuples(EVENTS, st.integers(0, 2), st.integers(0, 90)), max_size=80))
def test_whatever_happens_the_budget_and_the_modes_are_obeyed(events: list[tuple[str, int, int]]) -> None:
    life = Life()
    world = life.world
    for kind, which, seconds in events:
        name = ("acts", "notifies", "off")[which]
        life.happens(kind, name)
        if kind == "act":
            life.act(name, well=seconds % 2 == 0)
        elif kind == "restore":
            world.state = restored(records(world.state), world.time, 600.0)
        world.look(seconds)
        assert sum(each.heal is not None for each in world.state.tracks.values()) <= 1
    assert set(world.begun()) <= {"acts"}
    for at in life.acted:
        since = max(each for each in life.resets if each <= at)
        assert sum(max(since, at - 600.0) < each <= at for each in life.acted) <= 3
