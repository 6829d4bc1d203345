"""Acts on the containers of a Docker Engine through the gate, which makes copies of them itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import aiodocker
import aiohttp

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.connection import decoded, message_of
from aiidpd.components.containers.recreate.state import NEW_MARK

_NO_IMAGES: Final = "no other image gets through aiidpd-gate: it makes copies of what is there alone"
_REMEDY: Final = "do it by hand"
_CREATED: Final = 201


class GatedActions(DockerActions):
    """Calls the gate behind the Unix socket ``socket``; what differs is how a container is created."""

    async def create(self, name: str, body: Mapping[str, Any]) -> str:  # noqa: ARG002 -- the gate has its own
        base, mark, _ = name.rpartition(NEW_MARK)
        if not mark:
            raise Refused("create", name, reason="aiidpd-gate makes copies alone", remedy=_REMEDY)
        async with (
            self._connection.calling("have a container copied by the gate before") as client,
            client.session.post(
                f"{client.docker_host}/aiidpd/copies/{base}",
                params={"name": name},
                timeout=aiohttp.ClientTimeout(),
            ) as response,
        ):
            answer = await response.read()
            if response.status != _CREATED:
                raise aiodocker.DockerError(response.status, message_of(answer))
            return str(decoded(answer, dict)["Id"])

    async def connect(self, network: str, identity: str, endpoint: Mapping[str, Any]) -> bool:  # noqa: ARG002
        return True  # the gate has connected the copy, by what the old one is connected to

    async def disconnect(self, network: str, identity: str) -> bool:  # noqa: ARG002 -- as above
        return True

    async def pull(
        self,
        reference: str,
        progress: Callable[[str], None],  # noqa: ARG002 -- nothing is fetched
        *,
        within: float = 3600.0,  # noqa: ARG002
    ) -> Mapping[str, Any] | None:
        raise Refused("pull", reference[:200], reason=_NO_IMAGES, remedy=_REMEDY)
