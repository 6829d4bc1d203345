"""An endpoint that speaks the OpenAI protocol over HTTP: the only module that imports httpx."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
import httpcore  # noqa: F401 -- httpx imports it with its first client, and the event loop would stand still
import httpx

from aiidpd.kernel.errors import Misconfigured, Unavailable, describe
from aiidpd.workers.bench import chat
from aiidpd.workers.bench.sse import EventParser, MalformedStreamError
from aiidpd.workers.bench.target import Chunk, ProbeRequest, Timeline

_MOST_BYTES = 8 * 1024 * 1024
_MOST_ERROR_BYTES = 4096
_CLOSING = 1.0  # seconds that closing a connection may take

_REMEDIES = {
    400: "see whether bench.endpoints names a model that this server serves",
    401: "give the endpoint's API key as a credential",
    403: "give the endpoint's API key as a credential",
    404: "see that bench.endpoints gives the server's base URL and a model that it serves",
    429: "the server limits this client: give the probe a higher limit or a longer bench.interval",
    503: "the engine may still be loading its model",
}


@dataclass(slots=True)
class _Answer:
    """What has arrived so far."""

    chunks: list[Chunk] = field(default_factory=list)
    said: chat.Piece = field(default_factory=chat.Piece)
    done: bool = False
    ended: float = 0.0  # when the last bytes came


class OpenAITarget:
    """Streams one chat completion at a time from ``url`` and records when its pieces arrive.

    Each probe opens a connection of its own, as a new user does, so that every sample includes the
    same work. Environment variables are not obeyed: a proxy would be measured in the engine's
    place, and .netrc could send credentials that nobody configured. ``api_key`` is never shown.
    Raises :class:`Misconfigured` for a url or a key that cannot be used.
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
        self._completions = chat.completions_url(url, name)
        self._monotonic = monotonic
        self._client: httpx.AsyncClient | None = None
        self._key = (api_key or "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            reason = "its API key holds characters that no HTTP header may"
            raise Misconfigured(
                "use", f"benchmark endpoint {name}", reason=reason, remedy="mend the credential"
            )
        # identity: compression would gather what the engine sends piece by piece
        self._headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"

    async def probe(self, request: ProbeRequest) -> Timeline:
        client = await self._connectable()
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
                raise self._broken(error, answer) from error
        if scope.cancelled_caught and not answer.done:
            raise self._late(answer, request)
        if not answer.chunks:
            raise self._failure("the server ended its answer without any text", "ask its model by hand")
        said = answer.said
        return Timeline(
            started=started,
            ended=answer.ended,
            chunks=tuple(answer.chunks),
            finish=said.finish,
            prompt_tokens=said.prompt_tokens,
            output_tokens=said.output_tokens,
            cached_tokens=said.cached_tokens,
            engine=said.engine,
        )

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with anyio.move_on_after(_CLOSING, shield=True):
                await client.aclose()

    async def _connectable(self) -> httpx.AsyncClient:
        if self._client is None:
            # In a thread: reading the system's certificates takes tens of ms.
            self._client = await anyio.to_thread.run_sync(_client, self._completions.startswith("https:"))
        return self._client

    async def _admit(self, response: httpx.Response) -> None:
        """Return if a stream of events follows."""
        if response.status_code != httpx.codes.OK:
            text = await self._error_text(response)
            reason = f"it answers {response.status_code} {response.reason_phrase}".rstrip()
            remedy = _REMEDIES.get(response.status_code, "see the server's own log")
            raise self._failure(f"{reason}: {text}" if text else reason, remedy)
        kind = response.headers.get("content-type", "")
        if not kind.lower().startswith("text/event-stream"):
            reason = (
                f"it answers with {chat.error_message(kind) or 'no content type'} instead of an event stream"
            )
            raise self._failure(
                reason, "see that the URL leads to an OpenAI-compatible server that can stream"
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self._failure(
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
            raise self._failure(f"its stream is malformed: {error}", remedy) from None
        if not answer.done and answer.said.finish is None:
            raise self._cut("the stream ended", answer)

    def _take(self, piece: chat.Piece, answer: _Answer, at: float) -> None:
        if piece.error is not None:
            raise self._failure(
                f"the server reports an error in its stream: {self._redacted(piece.error)}", "see its log"
            )
        if piece.characters:
            answer.chunks.append(Chunk(at, piece.characters))
        answer.said = answer.said.then(piece)

    def _bound(self, received: int, answer: _Answer, request: ProbeRequest) -> None:
        remedy = "see whether the server honours max_tokens"
        if received > _MOST_BYTES:
            raise self._failure(f"the answer is longer than {_MOST_BYTES // 1024**2} MiB", remedy)
        if len(answer.chunks) > 2 * request.max_tokens + 64:
            reason = f"{len(answer.chunks)} chunks arrived where {request.max_tokens} tokens were asked for"
            raise self._failure(reason, remedy)

    async def _error_text(self, response: httpx.Response) -> str:
        data = b""
        async for part in response.aiter_raw():
            data += part
            if len(data) > _MOST_ERROR_BYTES:
                break
        return self._redacted(chat.error_text(data[:_MOST_ERROR_BYTES].decode(errors="replace")))

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "[API key]") if self._key else text

    def _late(self, answer: _Answer, request: ProbeRequest) -> Unavailable:
        if answer.chunks:
            reason = (
                f"the answer did not end within {request.timeout:g} s ({len(answer.chunks)} chunks arrived)"
            )
            return self._failure(reason, "see whether the engine is overloaded, or raise bench.timeout")
        reason = f"no token within {min(request.first_token_timeout, request.timeout):g} s"
        remedy = "see whether the engine is hung or busy, or raise bench.first_token_timeout"
        return self._failure(reason, remedy)

    def _broken(self, error: httpx.HTTPError, answer: _Answer) -> Unavailable:
        if isinstance(error, httpx.ConnectError):
            return self._failure(_root(error), "see that the server runs and listens there")
        if answer.chunks:
            return self._cut(_root(error), answer)
        return self._failure(f"no answer came: {_root(error)}", "see the server's own log")

    def _cut(self, how: str, answer: _Answer) -> Unavailable:
        reason = f"the stream was cut after {len(answer.chunks)} chunks: {how}"
        return self._failure(reason, "see whether the engine crashed or was restarted")

    def _failure(self, reason: str, remedy: str) -> Unavailable:
        return Unavailable("measure", f"{self.name} at {self.url}", reason=reason, remedy=remedy)


def _client(tls: bool) -> httpx.AsyncClient:
    # The system's certificates, for an administrator's own are among them; or none, which spares 3 MiB.
    context = ssl.create_default_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(
        verify=context,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 -- the scope around each probe bounds the whole of it
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def _root(error: BaseException) -> str:
    """Return the text of the operating system's error below ``error``, else its own."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ConnectionError) and below.errno:
            return os.strerror(below.errno).lower()  # asyncio puts text of its own in its place
        if isinstance(below, OSError) and below.strerror:
            return below.strerror[:1].lower() + below.strerror[1:]
        if isinstance(below, BaseExceptionGroup):
            below = below.exceptions[0]
        else:
            below = below.__cause__ or below.__context__
    return describe(error)
