"""HTTP client, and the words for a server that answers otherwise than it should."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import anyio.to_thread
import httpcore  # also: httpx imports it with its first client, and the event loop would be blocked
import httpx

from aiidpd.kernel.errors import Misconfigured, describe

_OK = 200
_CLOSING = 1.0  # seconds that closing a connection may take
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Client:
    """Opens a connection for each request, as a new user does, and reuses none.

    Environment variables are not obeyed: a proxy would be measured in the engine's place, and .netrc could
    send credentials that nobody configured. There is no timeout here: the caller's scope bounds the whole.
    With ``keep_alive``, a connection whose other end is gone, and not only slow, fails after a minute. With
    ``backend``, that opens the connections.
    """

    def __init__(
        self, *, tls: bool, keep_alive: bool = False, backend: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._tls = tls
        self._keep_alive = keep_alive
        self._backend = backend
        self._client: httpx.AsyncClient | None = None

    async def get(self) -> httpx.AsyncClient:
        """Return the client, made with the first call."""
        if self._client is None:
            # In a thread: reading the system's certificates takes tens of ms.
            self._client = await anyio.to_thread.run_sync(_client, self._tls, self._keep_alive, self._backend)
        return self._client

    async def aclose(self) -> None:
        """Close the connections. Can be called twice; :meth:`get` afterwards makes a new client."""
        client, self._client = self._client, None
        if client is not None:
            with anyio.move_on_after(_CLOSING, shield=True):
                await client.aclose()


def usable_key(name: str, api_key: str | None) -> str:
    """Return the key as a header can hold it; raises :class:`Misconfigured` where it can't."""
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        reason = "its API key holds characters that no HTTP header may"
        raise Misconfigured("use", f"benchmark endpoint {name}", reason=reason, remedy="mend the credential")
    return key


def root(error: BaseException) -> str:
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


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own, over connections that ``backend`` opens: httpx has no argument for that."""

    def __init__(self, context: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_keepalive_connections=0, network_backend=backend
        )


def _client(
    tls: bool, keep_alive: bool, backend: httpcore.AsyncNetworkBackend | None = None
) -> httpx.AsyncClient:
    # The system's certificates, for an administrator's own are among them; or none, which spares 3 MiB.
    context = ssl.create_default_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = (
        _Transport(context, backend)
        if backend is not None
        else httpx.AsyncHTTPTransport(
            verify=context,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            socket_options=_KEEP_ALIVE if keep_alive else None,
        )
    )
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 -- the scope around each request bounds the whole of it
    )


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """Answer to a request for JSON: without a document, ``reason`` is why."""

    status: int = 0
    """0 where there was no answer."""
    document: object = None
    reason: str = ""


async def get_json(client: Client, url: str, headers: Mapping[str, str], most_bytes: int) -> JsonAnswer:
    """Return the JSON document at ``url``; what goes wrong on the way is in the answer.

    At most ``most_bytes`` are read, redirects are not followed, and there is no timeout here.
    """
    content = bytearray()
    try:
        async with (await client.get()).stream("GET", url, headers=headers) as response:
            status = response.status_code
            if status != _OK:
                return JsonAnswer(status, reason=f"it answers {status}")
            async for data in response.aiter_raw():
                content += data
                if len(content) > most_bytes:
                    return JsonAnswer(status, reason=f"its answer is longer than {most_bytes // 2**20} MiB")
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        return JsonAnswer(reason=f"no answer: {root(error)}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return JsonAnswer(status, reason="its answer is no JSON")
    return JsonAnswer(status, document, "" if document is not None else "its answer is empty")
