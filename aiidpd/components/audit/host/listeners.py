"""Listeners of this machine that speak an inference API, and whether they need a key.

Each socket is asked once, and again after an hour or when another one has its port: by GET alone, over this
machine's own addresses, and by pages that wake and load nothing. GET of a path that only takes POST shows
whether a key is checked there: 401 comes before 405, and nothing is generated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final

import anyio

from aiidpd.components.audit.facts import Listener
from aiidpd.components.audit.host.sockets import Socket
from aiidpd.engines import llamacpp, vllm
from aiidpd.engines.identify import identify
from aiidpd.engines.page import PageReader
from aiidpd.engines.profile import EngineProfile, Facts, Memory, PageRequest, Reply, as_list, as_mapping
from aiidpd.engines.serving import MODELS
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Misconfigured

AGAIN: Final = 3600.0
"""Seconds until a socket is asked again."""
_SECONDS: Final = 5.0  # that all requests to one listener may take
_AT_ONCE: Final = 2
_MOST: Final = 200  # listeners that are asked
_CHAT: Final = "/v1/chat/completions"
_BEYOND: Final = ("/invocations",)  # generate, and are not below /v1
_GUARDED: Final = frozenset({401, 403})
_UNGUARDED: Final = frozenset({200, 400, 404, 405, 415, 422})
_NO_METHOD: Final = frozenset({200, 400, 405, 415, 422})
UNKNOWN: Final = "a server with OpenAI's API"
# Ports of services that speak no HTTP: they would log a protocol error.
FOREIGN: Final = frozenset(
    {
        21,
        22,
        23,
        25,
        53,
        88,
        110,
        111,
        119,
        135,
        139,
        143,
        179,
        389,
        443,
        445,
        465,
        514,
        515,
        587,
        636,
        853,
        873,
    }
    | {989, 990, 993, 995, 1433, 1521, 1883, 2049, 2376, 3260, 3306, 3389, 4369, 5432, 5433, 5671, 5672, 5900}
    | {6379, 6380, 6432, 6443, 8883, 9042, 9092, 11211, 25672, 26379, 27017, 27018, 33060}
)


@dataclass(frozen=True, slots=True)
class _Asked:
    at: float
    found: Listener | None


class Listeners:
    """Finds inference servers among the listening sockets; ``ignored`` are ports that are never asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[Socket, _Asked] = {}

    async def find(
        self,
        sockets: Iterable[Socket],
        ignored: Collection[int],
        beat: Callable[[], None] = lambda: None,
    ) -> tuple[Listener, ...]:
        """Return those that speak an inference API. Each takes 5 s at most; ``beat`` is called after each."""
        wanted = [each for each in sockets if each.port not in ignored and each.port not in FOREIGN][:_MOST]
        self._asked = {each: self._asked[each] for each in wanted if each in self._asked}
        now = self._clock.monotonic()
        due = [each for each in wanted if each not in self._asked or now - self._asked[each].at >= AGAIN]
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def ask(each: Socket) -> None:
            async with limiter:
                self._asked[each] = _Asked(self._clock.monotonic(), await probe(each))
                beat()

        async with anyio.create_task_group() as group:
            for each in due:
                group.start_soon(ask, each)
        return tuple(asked.found for each in wanted if (asked := self._asked[each]).found is not None)


async def probe(socket: Socket) -> Listener | None:
    """Return what listens at ``socket``; None where it is no inference server, or does not answer in time."""
    found: list[Listener] = []
    with anyio.move_on_after(_SECONDS):
        pages = PageReader("listener", f"http://{_reachable_at(socket)}:{socket.port}")
        try:
            await _probe(socket, pages, found)
        except Misconfigured:
            return None
        finally:
            await pages.aclose()
    return found[-1] if found else None


async def _probe(socket: Socket, pages: PageReader, found: list[Listener]) -> None:
    """Append what is known of the listener, and again with each thing that is known beside."""
    engine = await _engine(pages)
    if not engine:
        return
    listener = Listener(socket.address, socket.port, engine)
    found.append(listener)
    listener = replace(listener, keyless=keyless((await pages.get(PageRequest(_CHAT))).status))
    found.append(listener)
    if listener.keyless is False and engine in (vllm.NAME, UNKNOWN):
        paths = tuple([each for each in _BEYOND if (await pages.get(PageRequest(each))).status in _NO_METHOD])
        found.append(replace(listener, open_paths=paths))


async def _engine(pages: PageReader) -> str:
    """Return the name of the engine, empty where it is none."""
    conversation = identify(Facts(), Memory())
    listed = Reply()
    try:
        request = next(conversation)
        while True:
            reply = await pages.get(request)
            if request.path == MODELS:
                listed = reply
                if not reply.status:
                    return ""  # no HTTP, or it does not answer
                if reply.server == llamacpp.NAME:
                    return llamacpp.NAME  # with a key it shows no page at all without one
            request = conversation.send(reply)
    except StopIteration as end:
        outcome: Any = end.value
    if isinstance(outcome, EngineProfile):
        return outcome.name
    document = as_mapping(listed.document)
    if listed.good and document.get("object") == "list" and as_list(document.get("data")):
        return UNKNOWN
    return ""


def keyless(status: int) -> bool | None:
    """Return whether a path is open to whoever has no key, by the ``status`` of a GET; None: not known."""
    if status in _GUARDED:
        return False
    return True if status in _UNGUARDED else None


def in_containers(found: Iterable[Listener], published: dict[int, str]) -> tuple[Listener, ...]:
    """Return the listeners, each with the container whose port it publishes, by the port of the host."""
    return tuple(replace(each, container=published.get(each.port, "")) for each in found)


def _reachable_at(socket: Socket) -> str:
    address = ip_address(socket.address)
    if address.version == 4:  # noqa: PLR2004 -- of the protocol
        return "127.0.0.1" if address.is_unspecified else socket.address
    return "[::1]" if address.is_unspecified else f"[{socket.address}]"
