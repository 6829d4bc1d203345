"""Reads the pages of one engine over HTTP: one request at a time, waited for, and bounded in size.

There is no timeout: a page may wait for a batch that is decoded, and to cut the request off would only leave
it behind at the engine. A connection whose other end is gone is noticed by keep-alives of TCP.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import httpx

from aiidpd.engines.exposition import MalformedPageError, PageLines, parse
from aiidpd.engines.figures import PollLoad
from aiidpd.engines.profile import OK, Kind, PageRequest, Reply
from aiidpd.engines.urls import page_url
from aiidpd.platform.http import Client, root, usable_key

MOST_DOCUMENT: Final = 2 * 2**20  # bytes of JSON, which is parsed at once
_LONGEST_NAME: Final = 64  # characters of what a server calls itself
_REDIRECTS: Final = range(300, 400)


class PageReader:
    """Pages below ``url``, with ``api_key`` where that is given, since llama.cpp requires it here too.

    ``load`` counts what reading them was. Raises :class:`~aiidpd.kernel.errors.Misconfigured` for a url or a
    key that cannot be used.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        api_key: str | None = None,
        load: PollLoad | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._base = url
        page_url(url, name, "/")
        self._client = Client(tls=url.lower().startswith("https:"), keep_alive=True)
        self._monotonic = monotonic
        self.load = load or PollLoad()
        key = usable_key(name, api_key)
        # identity: a page of a few kilobytes whose length is known at its begin, not a bomb
        self._headers = {"Accept": "text/plain, application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    async def get(self, request: PageRequest) -> Reply:
        """Return the page; what goes wrong on the way is in the reply."""
        url = page_url(self._base, self._name, request.path)
        client = await self._client.get()
        started = self._monotonic()
        self.load.requests += 1
        self.load.pending_since = started
        try:
            async with client.stream("GET", url, headers=self._headers) as response:
                reply = await self._reply(request, url, response)
                return replace(reply, server=response.headers.get("server", "")[:_LONGEST_NAME])
        except httpx.HTTPError as error:
            return Reply(reason=f"no page from {url}: {root(error)}")
        finally:
            self.load.seconds += self._monotonic() - started
            self.load.pending_since = None

    async def aclose(self) -> None:
        """Close the connections. Can be called twice; a read afterwards opens them again."""
        await self._client.aclose()

    async def _reply(self, request: PageRequest, url: str, response: httpx.Response) -> Reply:
        status = response.status_code
        if status in _REDIRECTS:
            return Reply(status, reason=f"{url} answers {status}, and redirects are not followed")
        if status != OK:
            return Reply(status, reason=f"{url} answers {status}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            return Reply(
                status, reason=f"{url} is compressed though the request refused that", malformed=True
            )
        try:
            if request.kind is Kind.SAMPLES:
                return Reply(status, samples=await self._samples(response))
            return Reply(status, document=await self._document(response))
        except MalformedPageError as error:
            return Reply(status, reason=f"{url} cannot be read: {error}", malformed=True)

    async def _samples(self, response: httpx.Response) -> Any:
        lines = PageLines()
        async for data in response.aiter_raw():
            self.load.bytes += len(data)
            lines.feed(data)
        return parse(lines.end())

    async def _document(self, response: httpx.Response) -> Any:
        content = bytearray()
        async for data in response.aiter_raw():
            self.load.bytes += len(data)
            content += data
            if len(content) > MOST_DOCUMENT:
                raise MalformedPageError(f"it is longer than {MOST_DOCUMENT // 2**20} MiB")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise MalformedPageError(f"it is no JSON ({type(error).__name__})") from None
