"""An endpoint that speaks the OpenAI protocol, or llama.cpp's own, over HTTP."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

import anyio
import httpx

from aiidpd.engines import chat
from aiidpd.engines.answer import AnswerReader, Sent
from aiidpd.engines.failures import Failures
from aiidpd.engines.faults import AnswerFaultError, Fault
from aiidpd.engines.target import ProbeRequest, Timeline
from aiidpd.engines.urls import page_url
from aiidpd.platform.http import Client, usable_key
from aiidpd.platform.loop_delay import LoopDelay
from aiidpd.platform.timed import TimedBackend, Wire

_UNKNOWN_FIELD: Final = frozenset({400, 422})
_SUSPENDED: Final = 0.01  # seconds; the two clocks are not read at the same moment


def suspended_seconds() -> float:
    """Return how long this machine was suspended since its start, which its monotonic clock leaves out."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class OpenAITarget:
    """Streams one completion at a time from ``url`` and records when its pieces arrive.

    Each probe opens a connection of its own, which is not part of its times. Servers are asked to count
    tokens in each chunk; one that refuses that is asked again without it. ``api_key`` is never shown. Raises
    :class:`Misconfigured` for a url or a key that cannot be used.
    """

    simulated = False

    def __init__(
        self,
        name: str,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        form: chat.Form = chat.Form.CHAT,
        monotonic: Callable[[], float] = time.monotonic,
        suspended: Callable[[], float] = suspended_seconds,
    ) -> None:
        self.name = name
        self.url = url
        self.model = model
        self._form = form
        self._page = page_url(url, name, form)
        self._counting = True
        self._suspended = suspended
        self._delay = LoopDelay(monotonic)
        backend = TimedBackend(monotonic, self._delay)
        self._client = Client(tls=self._page.startswith("https:"), backend=backend)
        key = usable_key(name, api_key)
        self._failures = Failures(name, url, key)
        # identity: compression would gather what the engine sends piece by piece
        self._headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    async def probe(self, request: ProbeRequest) -> Timeline:
        client = await self._client.get()
        reader = AnswerReader(request.max_tokens)
        suspended = self._suspended()
        deadline = anyio.current_time() + request.timeout
        first_deadline = min(deadline, anyio.current_time() + request.first_token_timeout)
        sent: Sent | None = None
        with anyio.CancelScope(deadline=first_deadline) as scope, self._delay.measured():
            try:
                async with contextlib.aclosing(await self._begun(client, request)) as response:
                    await self._admit(response)
                    wire: Wire = response.extensions["network_stream"].wire
                    sent = _sent(wire)
                    await self._read(response, wire, reader, lambda: setattr(scope, "deadline", deadline))
            except httpx.HTTPError as error:
                raise self._failures.broken(error, len(reader.chunks)) from error
        if self._suspended() - suspended > _SUSPENDED:
            raise self._failures.suspended()
        if sent is None or (scope.cancelled_caught and not reader.done):
            raise self._failures.late(len(reader.chunks), request)
        try:
            return reader.timeline(sent, self._delay.delays())
        except AnswerFaultError as fault:
            raise self._failures.no_answer(fault, 0) from None

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _begun(self, client: httpx.AsyncClient, request: ProbeRequest) -> httpx.Response:
        """Return the response to the request, once its head is there."""
        response = await self._post(client, request)
        if self._counting and response.status_code in _UNKNOWN_FIELD:
            await response.aclose()
            self._counting = False
            response = await self._post(client, request)
            self._counting = response.status_code in _UNKNOWN_FIELD  # then that was not the reason
        return response

    async def _post(self, client: httpx.AsyncClient, request: ProbeRequest) -> httpx.Response:
        content = chat.body(self.model, request, self._form, counting=self._counting)
        posted = client.build_request("POST", self._page, content=content, headers=self._headers)
        return await client.send(posted, stream=True)

    async def _admit(self, response: httpx.Response) -> None:
        """Return if a stream of events follows."""
        if response.status_code != httpx.codes.OK:
            raise await self._failures.refused(response)
        kind = response.headers.get("content-type", "")
        if not kind.lower().startswith("text/event-stream"):
            reason = (
                f"it answers with {chat.error_message(kind) or 'no content type'} instead of an event stream"
            )
            raise self._failures.failure(
                Fault.NO_STREAM,
                reason,
                "see that the URL leads to an OpenAI-compatible server that can stream",
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self._failures.failure(
                Fault.COMPRESSED,
                "the stream is compressed though the request refused that",
                "turn compression off in the proxy",
            )

    async def _read(
        self, response: httpx.Response, wire: Wire, reader: AnswerReader, first: Callable[[], None]
    ) -> None:
        """Feed ``reader`` until the server is done; call ``first`` at the first text."""
        try:
            async for data in response.aiter_raw():
                if wire.arrived is not None:
                    reader.feed(data, wire.arrived, wire.waited, stamped=wire.stamped)
                if reader.done:
                    return
                if reader.chunks:
                    first()
            reader.end()
        except AnswerFaultError as fault:
            raise self._failures.no_answer(fault, len(reader.chunks)) from None


def _sent(wire: Wire) -> Sent:
    connected = wire.opened if wire.connected is None else wire.connected
    return Sent(connected if wire.sent is None else wire.sent, connected - wire.opened)
