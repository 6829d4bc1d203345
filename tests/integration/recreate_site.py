"""A real container that is created anew, faults on the way, and what must be true of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel

from aiidpd.components.containers.actions import ContainerActions, Refused
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.heal.protocols import NotRecreated, Recreated
from aiidpd.components.containers.recreate.compose import Compose
from aiidpd.components.containers.recreate.controller import ContainerRecreator, Recovered
from aiidpd.components.containers.recreate.journal import NAME, RecreationJournal
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.errors import Unavailable
from tests.waiting import PATIENCE

SETTLE: Final = 0.2
LATE: Final = 0.5
ACTS: Final = ("create", "connect", "stop", "rename", "start", "remove")
SAID: Final = ("ExitCode", "Error", "StartedAt", "FinishedAt")
ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}


class Site:
    """The container ``name`` on the engine behind ``socket``; each recreator is that of a new process."""

    def __init__(self, folder: Path, socket: Path, name: str) -> None:
        self.folder, self.socket, self.name = folder, socket, name
        self.actions = DockerActions(socket, call_timeout=PATIENCE)
        self._made: list[ContainerRecreator] = []

    def recreator(
        self, actions: ContainerActions | None = None, settle: float = SETTLE, path: str = ENVIRONMENT["PATH"]
    ) -> ContainerRecreator:
        made = ContainerRecreator(
            actions or DockerActions(self.socket, call_timeout=PATIENCE),
            RecreationJournal(self.folder / NAME),
            compose=Compose(self.socket, {**ENVIRONMENT, "PATH": path}),
            clock=SystemClock(),
            settle=settle,
            late=LATE,
        )
        self._made.append(made)
        return made

    async def recreate(self, **options: Any) -> Recreated | NotRecreated:
        return await self.recreator(**options).recreate(await self.id(), grace=5.0)

    async def recover(self) -> tuple[Recovered, ...]:
        """Recover as the next process does, until nothing is left."""
        recreator = self.recreator()
        found = await recreator.recover()
        assert not recreator.pending, found
        return found

    async def describe(self, name: str = "") -> Mapping[str, Any]:
        found = await self.actions.describe(name or self.name)
        assert found is not None, f"there is no {name or self.name}"
        assert found["Name"] == f"/{name or self.name}"
        return found

    async def id(self) -> str:
        return str((await self.describe())["Id"])

    async def state(self) -> str:
        return str((await self.describe())["State"]["Status"])

    async def doing(self, name: str = "") -> str:
        """Return its state as it says it, and what it says of its end."""
        found = await self.actions.describe(name or self.name)
        if found is None:
            return "denied"
        state = found["State"]
        return f"{state['Status']} ({ {key: state.get(key) for key in SAID} })"

    async def facts(self) -> dict[str, Any]:
        """Return what must be the same of it for ever."""
        found = await self.describe()
        return {
            "mounts": sorted((str(m["Destination"]), str(m.get("Name"))) for m in found["Mounts"]),
            "networks": sorted(found["NetworkSettings"]["Networks"]),
            "labels": found["Config"]["Labels"],
            "policy": found["HostConfig"]["RestartPolicy"],
            "image": found["Image"],
        }

    async def names(self) -> list[str]:
        """Return the names of all containers that have this one's in theirs."""
        filters = json.dumps({"name": [self.name]})
        done = await anyio.run_process(
            ["curl", "-s", "-G", "--unix-socket", str(self.socket), "http://d/containers/json", "-d", "all=1",
             "--data-urlencode", f"filters={filters}"]
        )  # fmt: skip
        return sorted(each["Names"][0].removeprefix("/") for each in json.loads(done.stdout))

    async def wrong(self, facts: Mapping[str, Any]) -> list[str]:
        """Return what is not as it must be once all is over."""
        found = []
        if await self.names() != [self.name]:
            return [f"the containers are { {each: await self.doing(each) for each in await self.names()} }"]
        if await self.state() != "running":
            found.append(f"it is {await self.doing()}")
        now = await self.facts()
        found += [f"{key}: {now[key]} instead of {facts[key]}" for key in facts if now[key] != facts[key]]
        return found

    async def aclose(self) -> None:
        for made in self._made:
            await made.aclose()
        await self.actions.aclose()


class Faulty:
    """Passes calls on to real ``actions``, and lets something happen at the call number ``at``.

    ``how`` is ``before`` or ``after`` (the connection breaks), ``refused``, or ``cancelled before`` or
    ``after``, which calls ``cancel``. Only calls of ``kinds`` are counted, in ``calls``.
    """

    def __init__(
        self,
        actions: ContainerActions,
        *,
        at: int = -1,
        how: str = "",
        kinds: tuple[str, ...] = ACTS,
        cancel: Callable[[], None] | None = None,
    ) -> None:
        self._actions, self._at, self._how, self._kinds, self._cancel = actions, at, how, kinds, cancel
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._actions, name)
        if name in self._kinds or (not self._kinds and name not in ("aclose", "simulated")):
            return self._wrapped(name, real)
        return real

    def _wrapped(self, name: str, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            hit = len(self.calls) - 1 == self._at
            if hit and self._how == "refused":
                raise Refused(name, "the engine", reason="it does not want to")
            if hit and self._how.endswith("before"):
                await self._happen()
            result = await real(*arguments, **options)
            if hit and self._how.endswith("after"):
                await self._happen()
            return result

        return call

    async def _happen(self) -> None:
        if self._cancel is None or not self._how.startswith("cancelled"):
            raise Unavailable("call", "the engine", reason="the connection broke")
        self._cancel()
        await anyio.lowlevel.checkpoint()
