"""Labels of measurements that failed (pure)."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiidpd.kernel.errors import Unavailable


class Fault(StrEnum):
    """Kind of a failure: what a program can tell apart; people read the reason."""

    UNREACHABLE = "unreachable"
    """No connection came about."""
    UNAUTHORIZED = "unauthorized"
    """The server wants another key, or forbids it (401, 403)."""
    NOT_FOUND = "not_found"
    """It has no such page or model (404)."""
    LIMITED = "limited"
    """It wants fewer requests (429)."""
    REFUSED = "refused"
    """It refuses the request (any other 4xx)."""
    SERVER_ERROR = "server_error"
    """It fails (5xx)."""
    REDIRECTED = "redirected"
    """It names another address (3xx), which is not followed."""
    NO_STREAM = "no_stream"
    """It answers with something else than a stream of events, such as HTML."""
    COMPRESSED = "compressed"
    """The stream is compressed, and compression gathers tokens."""
    MALFORMED = "malformed"
    """The stream breaks its rules."""
    ENGINE_ERROR = "engine_error"
    """The server reports an error amid its answer."""
    CUT = "cut"
    """The stream ended before its end."""
    NO_ANSWER = "no_answer"
    """The connection ended before an answer."""
    EMPTY = "empty"
    """The answer had no text."""
    LATE = "late"
    """No token came in time."""
    UNFINISHED = "unfinished"
    """Tokens came, and the end did not come in time."""
    TOO_LONG = "too_long"
    """More came than was requested."""
    IMPLAUSIBLE = "implausible"
    """The server counts tokens that can't have been."""
    CLOCK = "clock"
    """The clock of this machine cannot be relied on: it went back, or stood still in a suspension."""


class ProbeFailed(Unavailable):
    """A measurement that gave no figure."""

    def __init__(self, subject: str, fault: Fault, *, reason: str, remedy: str) -> None:
        self.fault = fault
        super().__init__("measure", subject, reason=reason, remedy=remedy)


class AnswerFaultError(ValueError):
    """Bytes or times that are no answer; the text is the reason."""

    def __init__(self, fault: Fault, reason: str) -> None:
        self.fault = fault
        super().__init__(reason)


_BY_STATUS: Final = MappingProxyType(
    {
        401: Fault.UNAUTHORIZED,
        403: Fault.UNAUTHORIZED,
        404: Fault.NOT_FOUND,
        429: Fault.LIMITED,
        3: Fault.REDIRECTED,
        4: Fault.REFUSED,
        5: Fault.SERVER_ERROR,
    }
)


def status_fault(status: int) -> Fault:
    """Return the label of an answer with ``status``, which is not 200."""
    return _BY_STATUS.get(status) or _BY_STATUS.get(status // 100, Fault.NO_STREAM)
