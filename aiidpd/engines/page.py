"""Reads the figures of an engine from its page for Prometheus, beside ``/v1``."""

from __future__ import annotations

import anyio
import httpx

from aiidpd.engines.exposition import MalformedPageError, PageLines, figures
from aiidpd.engines.figures import EngineFigures, NotKnown
from aiidpd.engines.urls import metrics_url
from aiidpd.platform.http import Client, root, usable_key

# What may pass by itself: the model is being loaded, a proxy has nobody behind it, too many requests.
_PASSING = frozenset({429, 500, 502, 503, 504})


class EnginePage:
    """``GET /metrics`` of the server at ``url``, which takes ``timeout`` seconds at most.

    ``api_key`` is sent to that server as with a probe, since llama.cpp requires it here too. Raises
    :class:`~aiidpd.kernel.errors.Misconfigured` for a url or a key that cannot be used.
    """

    def __init__(self, name: str, url: str, *, api_key: str | None = None, timeout: float = 2.0) -> None:
        self._url = metrics_url(url, name)
        self._timeout = timeout
        self._client = Client(tls=self._url.startswith("https:"))
        key = usable_key(name, api_key)
        # identity: a page of a few kilobytes whose length is known at its begin, not a bomb
        self._headers = {"Accept": "text/plain", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    async def read(self) -> EngineFigures | NotKnown:
        with anyio.move_on_after(self._timeout):
            try:
                client = await self._client.get()
                async with client.stream("GET", self._url, headers=self._headers) as response:
                    return await self._parse(response)
            except httpx.HTTPError as error:
                return NotKnown(f"no page from {self._url}: {root(error)}", lasting=False)
        return NotKnown(f"no page from {self._url} within {self._timeout:g} s", lasting=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _parse(self, response: httpx.Response) -> EngineFigures | NotKnown:
        status = response.status_code
        if status != httpx.codes.OK:
            hint = "; start llama-server with --metrics" if status == httpx.codes.NOT_IMPLEMENTED else ""
            return NotKnown(f"{self._url} answers {status}{hint}", lasting=status not in _PASSING)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            return NotKnown(f"{self._url} is compressed though the request refused that", lasting=True)
        lines = PageLines()
        try:
            async for data in response.aiter_raw():
                lines.feed(data)
            wanted = lines.end()
        except MalformedPageError as error:
            return NotKnown(f"{self._url} cannot be read: {error}", lasting=True)
        return figures(wanted)
