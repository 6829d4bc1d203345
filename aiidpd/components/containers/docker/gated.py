"""Acts on the containers of a Docker Engine through the gate, which makes copies of them itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import aiodocker
import aiohttp

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.connection import GoneError, decoded, message_of
from aiidpd.components.containers.recreate.state import NEW_MARK

_REMEDY: Final = "do it by hand"
_CREATED: Final = 201
_REFUSED: Final = 400


class GatedActions(DockerActions):
    """Calls the gate behind the Unix socket ``socket``; what differs is how a container is created."""

    async def create(self, name: str, body: Mapping[str, Any], *, image: str = "") -> str:  # noqa: ARG002 -- the gate has its own
        base, mark, _ = name.rpartition(NEW_MARK)
        if not mark:
            raise Refused("create", name, reason="aiidpd-gate makes copies alone", remedy=_REMEDY)
        if image:
            path, parameters = f"aiidpd/images/{base}", {"name": name, "image": image}
        else:
            path, parameters = f"aiidpd/copies/{base}", {"name": name}
        try:
            return await self._call("have a container copied by the gate before", path, parameters)
        except GoneError as error:
            raise Refused("create", name, reason="the one that it is made from is gone") from error

    async def connect(self, network: str, identity: str, endpoint: Mapping[str, Any]) -> bool:  # noqa: ARG002
        return True  # the gate has connected the copy, by what the old one is connected to

    async def disconnect(self, network: str, identity: str) -> bool:  # noqa: ARG002 -- as above
        return True

    async def image_refusal(self, container: str, image: str) -> str:
        path = f"aiidpd/images/{container}"
        try:
            await self._call("have an image judged by the gate before", path, {"image": image})
        except Refused as error:
            return error.reason
        except GoneError:
            return "the container is gone"
        return ""

    async def pull(
        self, reference: str, progress: Callable[[str], None], *, container: str, within: float = 3600.0
    ) -> Mapping[str, Any] | None:
        path, parameters = f"aiidpd/pulls/{container}", {"image": reference}
        await self._pull(path, parameters, reference, progress, within)
        return await self.image(reference)

    async def _call(self, action: str, path: str, parameters: Mapping[str, str]) -> str:
        """Make one of the gate's own calls; return the id of what was made, an empty text for nothing."""
        async with (
            self._connection.calling(action) as client,
            client.session.post(
                f"{client.docker_host}/{path}", params=parameters, timeout=aiohttp.ClientTimeout()
            ) as response,
        ):
            answer = await response.read()
            if response.status >= _REFUSED:
                raise aiodocker.DockerError(response.status, message_of(answer))
            return str(decoded(answer, dict)["Id"]) if response.status == _CREATED else ""
