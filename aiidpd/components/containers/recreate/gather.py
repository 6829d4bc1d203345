"""Reads all that is to be known of a container before it is created anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

from aiidpd.components.containers.actions import ContainerActions, Refused
from aiidpd.components.containers.recreate.described import (
    Description,
    is_connected,
    joined,
    networks,
    volume_sources,
)
from aiidpd.components.containers.recreate.faithful import Facts
from aiidpd.kernel.errors import Unavailable

_TRIES: Final = 3


async def gather(
    actions: ContainerActions, identity: str, successors: Mapping[str, str] | None = None
) -> Facts | None:
    """Return the facts about a container, None where it does not exist. Raises ``Unavailable``."""
    container = await _sized(actions, identity)
    if container is None:
        return None
    config = container["Config"]
    named = await actions.image(str(config["Image"])) if config.get("Image") else None
    return Facts(
        container,
        image=await actions.image(str(container["Image"])),
        tag=str((named or {}).get("Id") or ""),
        gone=tuple([each async for each in _gone(actions, container, successors or {})]),
        changes=await _changes(actions, identity),
    )


async def _sized(actions: ContainerActions, identity: str) -> Description | None:
    for _ in range(_TRIES):
        with suppress(Refused):  # files that vanish meanwhile can't be measured
            return await actions.describe(identity, size=True)
    return await actions.describe(identity)


async def _changes(actions: ContainerActions, identity: str) -> tuple[Mapping[str, Any], ...] | None:
    try:
        return await actions.changes(identity)
    except Unavailable:
        return None  # so large that the runtime needs longer than it has


async def _gone(
    actions: ContainerActions, container: Description, successors: Mapping[str, str]
) -> AsyncIterator[tuple[str, str]]:
    """Yield (kind, name) of what the container refers to and what does not exist."""
    host = container["HostConfig"]
    for name, endpoint in networks(container).items() if is_connected(host) else ():
        network = await actions.network(str(endpoint.get("NetworkID") or name))
        if network is None:
            yield "network", name
    for name in sorted(set(volume_sources(container).values())):
        if await actions.volume(name) is None:
            yield "volume", name
    others = [other for _, other in joined(host)]
    others += [str(each).partition(":")[0] for each in host.get("VolumesFrom") or ()]
    for other in dict.fromkeys(others):
        if await actions.describe(successors.get(other, other)) is None:
            yield "container", other
