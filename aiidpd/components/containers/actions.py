"""Protocol of acts on containers, and of what is read of one alone (pure). Adapter: docker/actions.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiidpd.kernel.errors import Unavailable


class Refused(Unavailable):
    """Answer of the runtime that it does not do what it was called for."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """Newest lines of a container's output, the oldest first, each with its time (RFC 3339) before it.

    A line that was too long has its beginning, and how many more bytes it had. ``received`` counts the bytes
    of output that were read for it. ``full``: there were more lines than requested. Not ``complete``: reading
    was ended at its bound, in bytes or time. ``unreadable`` is why the log can't be read, where it can't.
    """

    lines: tuple[bytes, ...] = ()
    received: int = 0
    full: bool = False
    complete: bool = True
    unreadable: str = ""


class ContainerActions(Protocol):
    """Acts on containers by their ids. Every method raises ``Unavailable`` in bounded time.

    That is :class:`Refused` where the runtime has answered, and anything may be so where it has not.

    One that is about a container that does not exist (any more) returns False or None and changes nothing.
    """

    @property
    def simulated(self) -> bool:
        """True where the containers are made up."""

    async def describe(self, identity: str, *, size: bool = False) -> Mapping[str, Any] | None:
        """Return everything that the runtime knows of a container, as its API has it.

        ``size``: also how large its own layer is (SizeRw, bytes), which the runtime may take long to find.
        """

    async def logs(self, identity: str, *, lines: int, since: float = 0.0) -> LogTail | None:
        """Return the last ``lines`` lines of output since ``since`` (Unix seconds), bounded in size."""

    async def start(self, identity: str) -> bool:
        """Start a container; return whether this call did so: False where it runs."""

    async def stop(self, identity: str, grace: float) -> bool:
        """Have a container end, and killed after ``grace`` seconds; return whether it ran."""

    async def kill(self, identity: str, signal: str = "KILL") -> bool:
        """Send a signal to its first process; return whether it ran. Does not wait for its end."""

    async def restart(self, identity: str, grace: float) -> bool:
        """Stop and start a container in one call of the runtime; return whether it exists."""

    async def rename(self, identity: str, name: str) -> bool:
        """Give a container another name."""

    async def remove(self, identity: str) -> bool:
        """Remove a container that does not run, without its volumes."""

    async def create(self, name: str, body: Mapping[str, Any], *, image: str = "") -> str:
        """Create a container as the runtime's API describes one; return its id. Does not start it.

        ``image`` is the one that is tried by that, empty where it is a copy of what is there.
        """

    async def connect(self, network: str, identity: str, endpoint: Mapping[str, Any]) -> bool:
        """Connect a container to one more network."""

    async def disconnect(self, network: str, identity: str) -> bool:
        """Disconnect a container from a network."""

    async def labelled(self, labels: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
        """Return the summaries of all containers that have these labels, each ``NAME=VALUE``."""

    async def changes(self, identity: str) -> tuple[Mapping[str, Any], ...] | None:
        """Return what has changed in a container's own layer, as the runtime's API has it."""

    async def image(self, reference: str) -> Mapping[str, Any] | None:
        """Return the description of an image, by its id or name."""

    async def network(self, reference: str) -> Mapping[str, Any] | None:
        """Return the description of a network, by its id or name."""

    async def volume(self, name: str) -> Mapping[str, Any] | None:
        """Return the description of a volume."""

    async def execs(self, identity: str) -> tuple[Mapping[str, Any], ...]:
        """Return the commands that run in a container now, each as the runtime's API describes it."""

    async def aclose(self) -> None:
        """Release what the adapter holds; may be called twice."""
