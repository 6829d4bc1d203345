"""Re-creations on a runtime in memory: whatever happens, one container has the name and runs if one did."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.heal.protocols import NotRecreated, Recreated
from aiidpd.components.containers.recreate.controller import ContainerRecreator
from aiidpd.components.containers.recreate.journal import NAME, RecreationJournal
from aiidpd.kernel.errors import Unavailable
from tests.fakes.clock import FakeClock
from tests.fakes.container_actions import MemoryActions
from tests.forms import examples

BODY: dict[str, Any] = {
    "Labels": {"a": "b"},
    "Env": ["A=1"],
    "HostConfig": {"NetworkMode": "net", "RestartPolicy": {"Name": "always"}},
    "NetworkingConfig": {"EndpointsConfig": {"net": {"Aliases": ["engine"]}, "other": {}}},
}


class Killed(BaseException):
    """The process ends here."""


class InstantClock(FakeClock):
    """Time passes as soon as somebody waits for it."""

    async def sleep(self, seconds: float) -> None:
        self._monotonic += seconds
        await anyio.lowlevel.checkpoint()


class Troubled(MemoryActions):
    """Runtime whose call number ``at`` goes wrong in the way ``how``."""

    def __init__(self) -> None:
        super().__init__()
        self.at, self.how, self.count = -1, "", 0

    def trouble(self, at: int, how: str) -> None:
        self.at, self.how, self.count = at, how, 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("describe", "create", "connect", "stop", "start", "rename", "remove"):
            return self._wrapped(found)
        return found

    def _wrapped(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def troubled(*arguments: Any, **options: Any) -> Any:
            hit, how = self.count == self.at, self.how
            self.count += 1
            if hit and how == "refused":
                raise Refused("act on", "the engine", reason="it does not want to")
            if hit and how in ("killed before", "cut before"):
                raise Killed if how == "killed before" else Unavailable("call", "it", reason="cut")
            result = await call(*arguments, **options)
            if hit and how in ("killed after", "cut after"):
                raise Killed if how == "killed after" else Unavailable("call", "it", reason="cut")
            return result

        return troubled


HOWS = ("refused", "killed before", "killed after", "cut before", "cut after")


class House:
    """A container ``llm``, and processes that recreate it one after the other."""

    def __init__(self, folder: Path, status: str = "running") -> None:
        self.folder = folder
        self.clock = InstantClock()
        self.actions = Troubled()
        self.first = self.actions.add("llm", BODY, status)

    def process(self) -> ContainerRecreator:
        journal = RecreationJournal(self.folder / NAME)
        return ContainerRecreator(self.actions, journal, compose=None, clock=self.clock)

    async def recreate(self, identity: str = "") -> Recreated | NotRecreated | str:
        try:
            return await self.process().recreate(identity or self.first, grace=5.0)
        except Killed:
            return "killed"
        except Unavailable:
            return "cut"

    async def recover(self) -> None:
        self.actions.trouble(-1, "")
        process = self.process()
        await process.recover()
        assert not process.pending

    def whole(self) -> None:
        """Assert that exactly one container is there, under the name, as the first was."""
        (one,) = self.actions.containers.values()
        assert one["Name"] == "/llm"
        assert one["State"]["Status"] == "running"
        assert one["Config"]["Labels"] == BODY["Labels"]
        assert one["HostConfig"]["RestartPolicy"] == {"Name": "always"}
        assert set(one["NetworkSettings"]["Networks"]) == {"net", "other"}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_a_copy_takes_the_place(house: House) -> None:
    done = await house.recreate()
    assert isinstance(done, Recreated)
    assert (done.way, done.notes) == ("inspect", "")
    assert list(house.actions.containers) == [done.identity]
    house.whole()
    assert not house.process().pending


@pytest.mark.parametrize("how", HOWS)
async def test_a_fault_at_any_call_loses_nothing(tmp_path: Path, how: str) -> None:
    ends = set()
    for at in range(60):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        house = House(folder)
        house.actions.trouble(at, how)
        done = await house.recreate()
        ends.add(done if isinstance(done, str) else type(done).__name__)
        undisturbed = house.actions.count <= at
        await house.recover()
        house.whole()
        if undisturbed:
            break
    else:
        pytest.fail("it never ends")
    assert {"refused": "NotRecreated", "killed": "killed", "cut": "cut"}[how.split(maxsplit=1)[0]] in ends


PERSON = (
    "nothing", "removes old", "removes new", "renames old", "renames new", "starts old", "takes the name",
    "restarts the engine",
)  # fmt: skip


@examples(400)
@given(
    faults=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(HOWS)), max_size=4),
    acts=st.lists(st.sampled_from(PERSON), max_size=3),
    meanwhile=st.lists(st.booleans(), min_size=3, max_size=3),
)
# Somebody has removed both: nothing is left that could have the name.
@example(faults=[(13, "refused")], acts=["removes old", "removes new"], meanwhile=[False] * 3)
def test_whatever_happens_nothing_of_a_persons_is_touched_and_one_has_the_name(
    faults: list[tuple[int, str]], acts: list[str], meanwhile: list[bool]
) -> None:
    async def run(folder: Path) -> None:
        house = House(folder)
        theirs: dict[str, dict[str, Any]] = {}
        gone = False
        house.actions.trouble(*faults[0]) if faults else None
        await house.recreate()
        left = list(acts)
        for fault, somebody_acts in zip(faults[1:], meanwhile, strict=False):
            if left and somebody_acts:
                gone = act(house, left.pop(), theirs) or gone
            house.actions.trouble(*fault)
            process = house.process()
            try:
                await process.recover()
            except Killed:
                continue
        for each in left:
            gone = act(house, each, theirs) or gone
        await house.recover()
        containers = house.actions.containers
        for key, before in theirs.items():
            assert containers[key] == before or not before
        named = [each for each in containers.values() if each["Name"] == "/llm"]
        ours = [each for each in containers.values() if each["Id"] not in theirs]
        assert len([each for each in ours if each["State"]["Status"] == "running"]) <= 1
        if not theirs and not gone:
            assert len(named) == 1
            assert named[0]["State"]["Status"] == "running"
            assert len(ours) == 1
        assert len(named) <= 1

    with TemporaryDirectory() as folder:
        anyio.run(run, Path(folder))


def act(house: House, what: str, theirs: dict[str, dict[str, Any]]) -> bool:
    """Do what a person does; return whether a container of ours is gone or has another name because of it."""
    containers = house.actions.containers
    ours = [each for each in containers.values() if each["Id"] not in theirs]
    old = next((each for each in ours if each["Id"] == house.first), None)
    new = next((each for each in ours if each["Id"] != house.first), None)
    if what == "restarts the engine":
        for each in ours:
            house.actions._begin(each)
    elif what == "takes the name" and house.actions.holder("llm") is None:
        key = house.actions.add("llm", {}, "running")
        theirs[key] = copy.deepcopy(containers[key])
    elif what == "starts old" and old is not None:
        house.actions._begin(old)
    elif what.startswith("removes"):
        found = old if what == "removes old" else new
        if found is not None:
            del containers[found["Id"]]
            # Who removes the one that has the name has meant it, and after the last of ours nothing is left.
            return found["Name"] == "/llm" or len(ours) == 1
    elif what.startswith("renames"):
        found = old if what == "renames old" else new
        if found is not None and found["Name"] != "/theirs" and house.actions.holder("theirs") is None:
            found["Name"] = "/theirs"
            theirs[found["Id"]] = {}  # it is theirs from now on
            return True
    return False


@pytest.mark.parametrize("status", ["exited", "created"])
async def test_one_that_did_not_run_is_not_started(tmp_path: Path, status: str) -> None:
    house = House(tmp_path, status)
    done = await house.recreate()
    assert isinstance(done, Recreated)
    assert house.actions.containers[done.identity]["State"]["Status"] == "created"


async def test_one_that_restarts_again_and_again_counts_as_one_that_runs(tmp_path: Path) -> None:
    house = House(tmp_path, "restarting")
    assert isinstance(await house.recreate(), Recreated)
    house.whole()


async def test_a_copy_that_ends_at_once_gives_the_place_back(house: House) -> None:
    house.actions.ends.add(f"{2:064x}")
    done = await house.recreate()
    assert done == NotRecreated("the new one ended at once, with code 7; the old one is back")
    house.whole()
    assert list(house.actions.containers) == [house.first]


async def test_where_neither_starts_the_old_one_has_its_name(house: House) -> None:
    house.actions.fails_to_start |= {f"{2:064x}", house.first}
    done = await house.recreate()
    assert isinstance(done, NotRecreated)
    assert done.reason == "no GPU; and the old one does not start: no GPU; the old one is back"
    assert [each["Name"] for each in house.actions.containers.values()] == ["/llm"]
    assert not house.process().pending


async def test_a_copy_that_differs_is_removed_and_the_field_named(house: House) -> None:
    create = house.actions.create

    async def otherwise(name: str, body: Any) -> str:
        return await create(name, {**body, "Env": ["A=2"], "HostConfig": {**body["HostConfig"], "Memory": 5}})

    house.actions.create = otherwise  # type: ignore[method-assign]
    done = await house.recreate()
    assert isinstance(done, NotRecreated)
    assert done.reason == "a copy of it would differ in Config.Env, HostConfig.Memory"
    house.whole()
    assert list(house.actions.containers) == [house.first]


async def test_an_old_one_that_can_not_be_removed_is_tried_again(house: House) -> None:
    async def busy(_: str) -> bool:
        raise Refused("remove", "it", reason="the device is busy")

    remove, house.actions.remove = house.actions.remove, busy  # type: ignore[method-assign]
    process = house.process()
    done = await process.recreate(house.first, grace=1.0)
    assert isinstance(done, Recreated)
    assert done.notes == "the old one can't be removed: the device is busy"
    assert process.pending
    house.actions.remove = remove  # type: ignore[method-assign]
    (left,) = await process.recover()
    assert (left.recreated, left.pending) == (True, False)
    house.whole()


async def test_a_disk_that_refuses_is_found_before_anything_is_touched(house: House) -> None:
    (house.folder / NAME).mkdir()  # it can neither be read nor replaced
    done = await house.recreate()
    assert isinstance(done, NotRecreated)
    assert NAME in done.reason
    house.actions.trouble(-1, "")
    assert list(house.actions.containers) == [house.first]
    house.whole()


async def test_an_old_one_that_can_not_be_killed_is_waited_for(house: House) -> None:
    async def in_vain(identity: str, grace: float) -> bool:
        raise Refused("stop", "it", reason=f"{identity[-1]} got no exit event in {grace:g} s")

    stop, house.actions.stop = house.actions.stop, in_vain  # type: ignore[method-assign]
    process = house.process()
    with pytest.raises(Unavailable, match=r"nor when it was killed \(1 got no exit event in 5 s\); .*reboot"):
        await process.recreate(house.first, grace=5.0)
    (left,) = await process.recover()
    assert left.pending
    await stop(house.first, 5.0)
    (done,) = await process.recover()
    assert (done.recreated, done.problem) == (True, "")
    house.whole()


async def test_one_that_never_ends_is_left_as_it_is_in_the_end(house: House) -> None:
    async def in_vain(_: str, __: float) -> bool:
        raise Refused("stop", "it", reason="no exit event")

    house.actions.stop = in_vain  # type: ignore[method-assign]
    process = house.process()
    with pytest.raises(Unavailable):
        await process.recreate(house.first, grace=5.0)
    house.clock.jump(3601)
    (done,) = await process.recover()
    assert (done.recreated, done.pending, done.problem) == (False, False, "it does not end: no exit event")
    house.whole()
    assert list(house.actions.containers) == [house.first]


async def test_one_that_is_being_created_anew_is_not_begun_again(house: House) -> None:
    process = house.process()
    second: list[Recreated | NotRecreated] = []
    stop = house.actions.stop

    async def meanwhile(identity: str, grace: float) -> bool:
        second.append(await process.recreate(house.first, grace=grace))
        return await stop(identity, grace)

    house.actions.stop = meanwhile  # type: ignore[method-assign]
    assert isinstance(await process.recreate(house.first, grace=1.0), Recreated)
    assert second == [NotRecreated("it is being created anew already")]


async def test_what_is_left_of_one_is_ended_before_it_is_begun_again(house: House) -> None:
    house.actions.trouble(12, "killed after")
    assert await house.recreate() == "killed"
    house.actions.trouble(-1, "")
    identity = str((house.actions.holder("llm") or {"Id": house.first})["Id"])
    await house.recover()
    done = await house.recreate(str((house.actions.holder("llm") or {})["Id"]))
    assert isinstance(done, Recreated)
    assert done.identity != identity
    house.whole()


async def test_one_that_does_not_exist_is_no_error(house: House) -> None:
    assert await house.recreate("f" * 64) == NotRecreated("it does not exist any more")
    assert await house.process().check("f" * 64) == NotRecreated("it does not exist any more")
