"""Failures of probes over HTTP, in words: to what, why, and what next."""

from __future__ import annotations

import httpx

from aiidpd.engines import chat
from aiidpd.engines.faults import AnswerFaultError, Fault, ProbeFailed, status_fault
from aiidpd.engines.target import ProbeRequest
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
_CLOCK_REMEDY = "it is measured again in its turn"


class Failures:
    """Failures of one endpoint. ``key`` is its API key, which no text shows."""

    def __init__(self, name: str, url: str, key: str) -> None:
        self._shown = f"{name} at {url}"
        self._key = key

    def failure(self, fault: Fault, reason: str, remedy: str) -> ProbeFailed:
        """Return the error of this endpoint for ``reason``."""
        return ProbeFailed(self._shown, fault, reason=reason, remedy=remedy)

    def no_answer(self, error: AnswerFaultError, chunks: int) -> ProbeFailed:
        """Return the error for bytes or times that are no answer, after ``chunks``."""
        match error.fault:
            case Fault.ENGINE_ERROR:
                reason = f"the server reports an error in its stream: {self._redacted(str(error))}"
                return self.failure(error.fault, reason, "see its log")
            case Fault.CUT:
                return self._cut(str(error), chunks)
            case Fault.MALFORMED:
                remedy = "see that no proxy on the way alters the stream"
                return self.failure(error.fault, f"its stream is malformed: {error}", remedy)
            case Fault.TOO_LONG | Fault.IMPLAUSIBLE:
                return self.failure(error.fault, str(error), "see whether the server honours max_tokens")
            case Fault.CLOCK:
                return self.failure(error.fault, str(error), _CLOCK_REMEDY)
        return self.failure(error.fault, str(error), "ask its model by hand")

    def suspended(self) -> ProbeFailed:
        """Return the error for a suspension of this machine amid the measurement."""
        reason = "this machine was suspended meanwhile, and its clock stood still"
        return self.failure(Fault.CLOCK, reason, _CLOCK_REMEDY)

    async def refused(self, response: httpx.Response) -> ProbeFailed:
        """Return the error for a status other than 200, with the server's own words about it."""
        data = b""
        async for part in response.aiter_raw():
            data += part
            if len(data) > _MOST_ERROR_BYTES:
                break
        text = self._redacted(chat.error_text(data[:_MOST_ERROR_BYTES].decode(errors="replace")))
        reason = f"it answers {response.status_code} {response.reason_phrase}".rstrip()
        remedy = _REMEDIES.get(response.status_code, "see the server's own log")
        fault = status_fault(response.status_code)
        if fault is Fault.REDIRECTED:
            text = self._redacted(chat.error_message(response.headers.get("location", "")))
            remedy = "give bench.endpoints the URL to which it leads, if that is the engine"
        return self.failure(fault, f"{reason}: {text}" if text else reason, remedy)

    def late(self, chunks: int, request: ProbeRequest) -> ProbeFailed:
        """Return the error for an answer of which ``chunks`` came in time, and the end did not."""
        if chunks:
            reason = f"the answer did not end within {request.timeout:g} s ({chunks} chunks arrived)"
            remedy = "see whether the engine is overloaded, or raise bench.timeout"
            return self.failure(Fault.UNFINISHED, reason, remedy)
        reason = f"no token within {min(request.first_token_timeout, request.timeout):g} s"
        remedy = "see whether the engine is hung or busy, or raise bench.first_token_timeout"
        return self.failure(Fault.LATE, reason, remedy)

    def broken(self, error: httpx.HTTPError, chunks: int) -> ProbeFailed:
        """Return the error for what the HTTP library raised after ``chunks``."""
        if isinstance(error, httpx.ConnectError):
            return self.failure(Fault.UNREACHABLE, root(error), "see that the server runs and listens there")
        if chunks:
            return self._cut(root(error), chunks)
        return self.failure(Fault.NO_ANSWER, f"no answer came: {root(error)}", "see the server's own log")

    def _cut(self, how: str, chunks: int) -> ProbeFailed:
        reason = f"the stream was cut after {chunks} chunks: {how}"
        return self.failure(Fault.CUT, reason, "see whether the engine crashed or was restarted")

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "[API key]") if self._key else text
