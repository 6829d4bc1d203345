"""An endpoint that speaks the OpenAI protocol over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import httpx

from aiidpd.engines import chat
from aiidpd.engines.failures import Failures
from aiidpd.engines.sse import EventParser, MalformedStreamError
from aiidpd.engines.target import Chunk, ProbeRequest, Timeline
from aiidpd.engines.urls import completions_url
from aiidpd.platform.http import Client, usable_key

_MOST_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class _Answer:
    """An answer so far."""

    chunks: list[Chunk] = field(default_factory=list)
    fields: chat.Piece = field(default_factory=chat.Piece)
    done: bool = False
    ended: float = 0.0  # when the last bytes came


class OpenAITarget:
    """Streams one chat completion at a time from ``url`` and records when its pieces arrive.

    Each probe opens a connection of its own, so that every sample includes the same work. ``api_key`` is
    never shown. Raises :class:`Misconfigured` for a url or a key that cannot be used.
    """

    simulated = False

    def __init__(
        self,
        name: str,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.url = url
        self.model = model
        self._completions = completions_url(url, name)
        self._monotonic = monotonic
        self._client = Client(tls=self._completions.startswith("https:"))
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
        answer = _Answer()
        content = chat.body(self.model, request)
        started = self._monotonic()
        deadline = anyio.current_time() + request.timeout
        first_deadline = min(deadline, anyio.current_time() + request.first_token_timeout)
        with anyio.CancelScope(deadline=first_deadline) as scope:
            try:
                call = client.stream("POST", self._completions, content=content, headers=self._headers)
                async with call as response:
                    await self._admit(response)
                    await self._read(response, answer, request, lambda: setattr(scope, "deadline", deadline))
            except httpx.HTTPError as error:
                raise self._failures.broken(error, len(answer.chunks)) from error
        if scope.cancelled_caught and not answer.done:
            raise self._failures.late(len(answer.chunks), request)
        if not answer.chunks:
            raise self._failures.failure(
                "the server ended its answer without any text", "ask its model by hand"
            )
        fields = answer.fields
        return Timeline(
            started=started,
            ended=answer.ended,
            chunks=tuple(answer.chunks),
            finish=fields.finish,
            prompt_tokens=fields.prompt_tokens,
            output_tokens=fields.output_tokens,
            cached_tokens=fields.cached_tokens,
            engine=fields.engine,
        )

    async def aclose(self) -> None:
        await self._client.aclose()

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
                reason, "see that the URL leads to an OpenAI-compatible server that can stream"
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self._failures.failure(
                "the stream is compressed though the request refused that",
                "turn compression off in the proxy",
            )

    async def _read(
        self, response: httpx.Response, answer: _Answer, request: ProbeRequest, first: Callable[[], None]
    ) -> None:
        """Read events into ``answer`` until the server is done; call ``first`` at the first text."""
        parser = EventParser()
        received = 0
        try:
            async for data in response.aiter_raw():
                answer.ended = at = self._monotonic()
                received += len(data)
                for event in parser.feed(data):
                    if event.data.strip() == chat.DONE:
                        answer.done = True
                        break
                    self._take(chat.parse(event.data), answer, at)
                if answer.done:
                    break
                if answer.chunks:
                    first()
                self._bound(received, answer, request)
        except (MalformedStreamError, chat.MalformedChunkError) as error:
            remedy = "see that no proxy on the way alters the stream"
            raise self._failures.failure(f"its stream is malformed: {error}", remedy) from None
        if not answer.done and answer.fields.finish is None:
            raise self._failures.cut("the stream ended", len(answer.chunks))

    def _take(self, piece: chat.Piece, answer: _Answer, at: float) -> None:
        if piece.error is not None:
            raise self._failures.in_stream(piece.error)
        if piece.characters:
            answer.chunks.append(Chunk(at, piece.characters))
        answer.fields = answer.fields.then(piece)

    def _bound(self, received: int, answer: _Answer, request: ProbeRequest) -> None:
        remedy = "see whether the server honours max_tokens"
        if received > _MOST_BYTES:
            raise self._failures.failure(f"the answer is longer than {_MOST_BYTES // 1024**2} MiB", remedy)
        if len(answer.chunks) > 2 * request.max_tokens + 64:
            reason = f"{len(answer.chunks)} chunks arrived where {request.max_tokens} tokens were requested"
            raise self._failures.failure(reason, remedy)
