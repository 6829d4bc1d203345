"""Container runtime where ``containers.engine`` is "off": each call fails with that reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.kernel.errors import Unavailable

OFF: Final = 'switched off by containers.engine = "off"'


class SwitchedOffRuntime:
    """Leaves every container alone."""

    simulated: Final = False

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        del fresh
        raise _refusal("read the containers")

    async def container(self, identity: str) -> ContainerReading | None:
        raise _refusal(f"read container {identity}")

    def events(self, since: float) -> AbstractAsyncContextManager[AsyncIterator[RuntimeEvent]]:
        del since
        raise _refusal("follow events")

    async def recall(
        self, since: float, until: float, *, within: float | None = None
    ) -> tuple[RuntimeEvent, ...]:
        del since, until, within
        raise _refusal("read past events")

    async def find(self, name: str) -> str | None:
        raise _refusal(f"find container {name}")

    async def stop(self, identity: str, grace: float) -> bool:
        del grace
        raise _refusal(f"stop container {identity}")

    async def pause(self, identity: str) -> bool:
        raise _refusal(f"pause container {identity}")

    async def unpause(self, identity: str) -> bool:
        raise _refusal(f"unpause container {identity}")

    async def aclose(self) -> None:
        """Hold nothing."""


def _refusal(action: str) -> Unavailable:
    return Unavailable(action, "", reason=OFF, remedy='set it to "auto" or "docker"')
