"""Failures of probes over HTTP, in words: to what, why, and what next."""

from __future__ import annotations

import httpx

from aiidpd.engines import chat
from aiidpd.engines.target import ProbeRequest
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.http import root

_MOST_ERROR_BYTES = 4096

_REMEDIES = {
    400: "see whether bench.endpoints names a model that this server serves",
    401: "give the endpoint's API key as a credential",
    403: "give the endpoint's API key as a credential",
    404: "see that bench.endpoints gives the server's base URL and a model that it serves",
    429: "the server limits this client: give the probe a higher limit or a longer bench.interval",
    503: "the engine may still be loading its model",
}


class Failures:
    """Failures of one endpoint. ``key`` is its API key, which no text shows."""

    def __init__(self, name: str, url: str, key: str) -> None:
        self._shown = f"{name} at {url}"
        self._key = key

    def failure(self, reason: str, remedy: str) -> Unavailable:
        """Return the error of this endpoint for ``reason``."""
        return Unavailable("measure", self._shown, reason=reason, remedy=remedy)

    def in_stream(self, message: str) -> Unavailable:
        """Return the error for one that the server reports amid its answer."""
        return self.failure(
            f"the server reports an error in its stream: {self._redacted(message)}", "see its log"
        )

    async def refused(self, response: httpx.Response) -> Unavailable:
        """Return the error for a status other than 200, with the server's own words about it."""
        data = b""
        async for part in response.aiter_raw():
            data += part
            if len(data) > _MOST_ERROR_BYTES:
                break
        text = self._redacted(chat.error_text(data[:_MOST_ERROR_BYTES].decode(errors="replace")))
        reason = f"it answers {response.status_code} {response.reason_phrase}".rstrip()
        remedy = _REMEDIES.get(response.status_code, "see the server's own log")
        return self.failure(f"{reason}: {text}" if text else reason, remedy)

    def late(self, chunks: int, request: ProbeRequest) -> Unavailable:
        """Return the error for an answer of which ``chunks`` came in time, and the end did not."""
        if chunks:
            reason = f"the answer did not end within {request.timeout:g} s ({chunks} chunks arrived)"
            return self.failure(reason, "see whether the engine is overloaded, or raise bench.timeout")
        reason = f"no token within {min(request.first_token_timeout, request.timeout):g} s"
        remedy = "see whether the engine is hung or busy, or raise bench.first_token_timeout"
        return self.failure(reason, remedy)

    def broken(self, error: httpx.HTTPError, chunks: int) -> Unavailable:
        """Return the error for what the HTTP library raised after ``chunks``."""
        if isinstance(error, httpx.ConnectError):
            return self.failure(root(error), "see that the server runs and listens there")
        if chunks:
            return self.cut(root(error), chunks)
        return self.failure(f"no answer came: {root(error)}", "see the server's own log")

    def cut(self, how: str, chunks: int) -> Unavailable:
        """Return the error for a stream that ended too early."""
        reason = f"the stream was cut after {chunks} chunks: {how}"
        return self.failure(reason, "see whether the engine crashed or was restarted")

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "[API key]") if self._key else text
