"""Trials carried out on a runtime in memory: step by step, with faults that no real one has on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiidpd.components.containers.actions import LogTail, Refused
from aiidpd.components.containers.recreate.journal import NAME as RECREATIONS
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.settings import UpgradeSettings
from aiidpd.components.containers.trial.book import TrialBook
from aiidpd.components.containers.trial.controller import TrialController
from aiidpd.components.containers.trial.events import TrialPublisher
from aiidpd.components.containers.trial.journal import NAME, TrialJournal
from aiidpd.components.containers.trial.opening import TrialTools
from aiidpd.components.containers.trial.state import ImageTrial
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.contracts.trials import ImageTrialRequested, ImageTrialState, Wish
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from tests.fakes.clock import FakeClock
from tests.fakes.container_actions import IMAGE, MemoryActions
from tests.tables import made

NEW = "sha256:" + "2" * 64


class Runtime(MemoryActions):
    """Containers in memory of two images; ``pulls``: one that is not here can be pulled."""

    def __init__(self) -> None:
        super().__init__()
        self.pulls = False
        self.here = {"llm:1": IMAGE, "llm:2": NEW}
        self.refuses: set[str] = set()
        self.away = False
        self.pulled: list[tuple[str, str]] = []
        self.tried: list[str] = []
        self.denies = ""

    async def describe(self, identity: str, *, size: bool = False) -> Mapping[str, Any] | None:
        if self.away:
            raise Unavailable("describe", "the engine", reason="nothing listens")
        return await super().describe(identity, size=size)

    async def image(self, reference: str) -> Mapping[str, Any] | None:
        found = self.here.get(reference, reference if reference in (IMAGE, NEW) else "")
        return {"Id": found, "Config": {}, "RepoDigests": [f"{reference}@sha256:ab"]} if found else None

    async def create(self, name: str, body: Mapping[str, Any], *, image: str = "") -> str:
        self.tried.append(image)
        if "create" in self.refuses:
            raise self._refusal("no space left")
        identity = await super().create(name, body)
        self.containers[identity]["Image"] = self.here[body["Image"]]
        return identity

    async def start(self, identity: str) -> bool:
        if "start" in self.refuses:
            raise self._refusal("the port is taken")
        return await super().start(identity)

    async def remove(self, identity: str) -> bool:
        if "remove" in self.refuses:
            raise self._refusal("removal is in progress")
        return await super().remove(identity)

    async def logs(self, identity: str, *, lines: int, since: float = 0.0) -> LogTail | None:  # type: ignore[override]
        del lines, since
        return LogTail((b"a line of " + identity[-1:].encode(),))

    async def image_refusal(self, container: str, image: str) -> str:  # noqa: ARG002
        return self.denies

    async def pull(
        self, reference: str, progress: Callable[[str], None], *, container: str, within: float = 0.0
    ) -> Mapping[str, Any] | None:
        del within
        self.pulled.append((container, reference))
        progress("Downloading")
        if not self.pulls:
            raise Unavailable("pull", reference, reason="manifest unknown")
        self.here[reference] = NEW
        return await self.image(reference)


class House:
    """A controller that a test steps, and the runtime under it."""

    def __init__(self, clock: FakeClock, folder: Path, runtime: Runtime | None = None) -> None:
        self.clock, self.folder = clock, folder
        self.runtime = runtime or Runtime()
        self.messages = Messages(clock)
        self.events: list[Event] = []
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.conditions = Conditions(clock, bus)
        self.barred: list[str] = []
        self.busy = ""
        self.book = TrialBook(
            clock,
            self.messages.inbox(ImageTrialRequested),
            self.messages.inbox(EmergencyStop),
            TrialJournal(folder / NAME),
        )

        def barred(entry: ImageTrial, _: EmergencyStop) -> None:
            self.barred.append(entry.name)

        self.controller = TrialController(
            self.book,
            TrialTools(
                self.runtime,
                RecreationJournal(folder / RECREATIONS),
                TrialPublisher(Publisher(bus, clock, "containers"), self.conditions),
                clock,
                made(UpgradeSettings),
                busy=lambda _: self.busy,
                stop_grace=lambda _: 10.0,
                barred=barred,
            ),
        )

    def wish(self, wish: Wish, image: str = "llm:2", trial: str = "t1", name: str = "llm") -> None:
        self.messages.send(
            ImageTrialRequested(
                reason="a test", trial=trial, container=name, image=image, wish=wish, hold_seconds=30.0
            )
        )

    async def settle(self, trial: str = "t1") -> ImageTrialState:
        """Step until nothing is left to do now, and past whatever is waited for."""
        await self.controller.load()
        for _ in range(60):
            if not await self.controller.step():
                await self.clock.advance(0.5)
        state = self.book.known(trial)
        assert state is not None
        return state

    def names(self) -> dict[str, str]:
        found = self.runtime.containers.values()
        return {each["Name"].removeprefix("/"): each["State"]["Status"] for each in found}


@pytest.fixture
def house(clock: FakeClock, tmp_path: Path) -> House:
    made_one = House(clock, tmp_path)
    labels = {"aiidpd.upgrade": "allow"}
    made_one.runtime.add("llm", {"Image": "llm:1", "Labels": labels}, "running")
    return made_one


async def hold(house: House, wish: Wish, image: str = "llm:2") -> ImageTrialState:
    """Wish, and step while the wish holds."""
    await house.controller.load()
    for _ in range(40):
        house.wish(wish, image)
        await house.controller.step()
    state = house.book.known("t1")
    assert state is not None
    return state


async def test_it_is_tried_and_kept(house: House) -> None:
    state = await hold(house, Wish.NEW)
    assert (state.serving, state.wish) == ("new", Wish.NEW)
    assert state.plan is not None
    assert state.plan.new_image.digests == ("llm:2@sha256:ab",)
    assert state.differences[0].startswith("Image: ")
    assert state.old_log == ("a line of 1",)
    state = await hold(house, Wish.KEEP)
    assert (state.ended, house.names()) == ("kept", {"llm": "running"})
    assert house.runtime.holder("llm")["Image"] == NEW  # type: ignore[index]
    assert [each.kind for each in house.events] == ["container.upgrade_began", "container.upgrade_kept"]


async def test_a_wish_that_is_not_repeated_leads_back(house: House) -> None:
    await hold(house, Wish.NEW)
    await house.clock.advance(31)
    state = await house.settle()
    assert (state.ended, house.names()) == ("returned", {"llm": "running"})
    assert house.runtime.holder("llm")["Image"] == IMAGE  # type: ignore[index]
    assert state.stopped_seconds >= 0


async def test_both_take_turns_and_one_runs_beside(house: House) -> None:
    for wish, serving in ((Wish.BESIDE, "old"), (Wish.NEW, "new"), (Wish.OLD, "old"), (Wish.NEW, "new")):
        state = await hold(house, wish)
        assert (state.wish, state.serving) == (wish, serving)
    house.wish(Wish.BACK)
    assert (await house.settle()).ended == "returned"
    assert house.names() == {"llm": "running"}


async def test_an_image_that_is_not_here_is_pulled(house: House) -> None:
    del house.runtime.here["llm:2"]
    house.runtime.pulls = True
    assert (await hold(house, Wish.NEW)).serving == "new"
    assert house.runtime.pulled == [("llm", "llm:2")]


async def test_one_that_there_is_not_is_refused(house: House) -> None:
    del house.runtime.here["llm:2"]
    state = await hold(house, Wish.NEW)
    assert state.plan is not None
    assert "manifest unknown" in state.plan.refusal
    assert house.names() == {"llm": "running"}


async def test_the_runtime_hears_which_image_is_tried(house: House) -> None:
    await hold(house, Wish.BESIDE)
    await hold(house, Wish.NEW)
    assert house.runtime.tried == ["llm:2", "llm:2"]


@pytest.mark.parametrize("wish", [Wish.PLAN, Wish.NEW])
async def test_an_image_that_the_gate_does_not_let_through_is_in_the_plan(house: House, wish: Wish) -> None:
    house.runtime.denies = "it is not of its repository"
    state = await hold(house, wish)
    assert state.plan is not None
    assert state.plan.refusal == "it is not of its repository"
    assert "gate.toml" in state.plan.remedy
    assert (house.runtime.pulled, house.runtime.tried, house.names()) == ([], [], {"llm": "running"})


async def test_a_plan_touches_nothing(house: House) -> None:
    state = await hold(house, Wish.PLAN)
    assert state.plan is not None
    assert (state.plan.refusal, state.plan.stop_grace, house.book.journal.active) == ("", 10.0, ())


@pytest.mark.parametrize(
    ("image", "name", "busy", "words"),
    [
        ("llm:1", "llm", "", "nothing to try"),
        ("llm:2", "nobody", "", "no container of this name"),
        ("llm:2", "llm", "it is being healed", "it is being healed"),
    ],
)
async def test_what_can_t_be_tried_is_refused(
    house: House, image: str, name: str, busy: str, words: str
) -> None:
    house.busy = busy
    house.wish(Wish.NEW, image, name=name)
    state = await house.settle()
    assert state.plan is not None
    assert words in state.plan.refusal
    assert house.names() == {"llm": "running"}


@pytest.mark.parametrize("verb", ["create", "start"])
async def test_a_refusal_on_the_way_forward_leads_back(house: House, verb: str) -> None:
    house.runtime.refuses.add(verb)
    await hold(house, Wish.NEW)
    house.runtime.refuses.clear()
    state = await house.settle()
    assert (state.ended, house.names()) == ("returned", {"llm": "running"})
    assert state.disturbed


async def test_one_that_ends_at_once_leads_back(house: House) -> None:
    house.runtime.ends.add(f"{2:064x}")
    state = await hold(house, Wish.NEW)
    state = await house.settle()
    assert (state.ended, state.disturbed) == ("returned", "the new one ended")
    assert state.new.log == ("a line of 2",)


async def test_an_old_one_that_does_not_start_is_a_condition_and_tried_again(house: House) -> None:
    await hold(house, Wish.NEW)
    house.runtime.refuses.add("start")
    house.wish(Wish.BACK)
    await house.settle()
    (condition,) = house.conditions.active()
    assert (condition.type, "the port is taken" in condition.reason) == (
        "container_upgrade_not_returned",
        True,
    )
    house.runtime.refuses.clear()
    for _ in range(4):
        state = await house.settle()
    assert (state.ended, house.conditions.active()) == ("returned", ())


async def test_what_can_t_be_removed_is_left_and_said(house: House) -> None:
    await hold(house, Wish.NEW)
    house.runtime.refuses.add("remove")
    house.wish(Wish.BACK)
    state = await house.settle()
    assert (state.ended, "removal is in progress" in state.problem) == ("returned", True)
    assert house.names()["llm"] == "running"


async def test_a_runtime_that_is_away_is_waited_for(house: House) -> None:
    await hold(house, Wish.NEW)
    house.runtime.away = True
    house.wish(Wish.BACK)
    assert (await house.settle()).problem == "nothing listens"
    house.runtime.away = False
    assert (await house.settle()).ended == "returned"


async def test_an_emergency_keeps_it_down(house: House) -> None:
    await hold(house, Wish.NEW)
    house.messages.send(EmergencyStop(reason="hot", gpu="GPU-1", containers=("llm",)))
    await house.runtime.stop(str(house.runtime.holder("llm")["Id"]), 0)  # type: ignore[index]
    state = await house.settle()
    assert (state.ended, house.names(), house.barred) == ("returned", {"llm": "exited"}, ["llm"])


async def test_the_next_process_goes_back(house: House, clock: FakeClock, tmp_path: Path) -> None:
    await hold(house, Wish.NEW)
    after = House(clock, tmp_path, house.runtime)
    state = await after.settle()
    assert (state.ended, after.names()) == ("returned", {"llm": "running"})
    assert "the daemon ended in the middle" in after.events[-1].reason


async def test_a_trial_that_nobody_knows_has_ended(house: House) -> None:
    house.wish(Wish.KEEP, trial="other")
    assert (await house.settle("other")).ended == "returned"


async def test_the_task_waits_for_wishes(house: House) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(house.controller.run, Heartbeat(house.clock, WorkerStatus("t"), anyio.Event()))
        for _ in range(80):
            house.wish(Wish.NEW)
            await house.clock.advance(0.5)
            await anyio.sleep(0.001)  # the disk is written in a thread
        group.cancel_scope.cancel()
    state = house.book.known("t1")
    assert state is not None
    assert state.serving == "new"
    assert not house.controller.simulated
    with pytest.raises(Refused):
        await house.runtime.remove(str(house.runtime.holder("llm")["Id"]))  # type: ignore[index]
