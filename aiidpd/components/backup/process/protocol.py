"""Lines between the daemon and the backup process, JSON each (pure).

The daemon writes one request to the standard input of a new process, then maybe orders; the process writes
progress, and at last a result or an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiidpd.components.backup.process.progress import Progress
from aiidpd.components.backup.process.requests import (
    CatalogRequest,
    DrillRequest,
    PinRequest,
    PruneRequest,
    RestoreRequest,
    RunRequest,
    SummaryRequest,
    VerifyRequest,
)
from aiidpd.components.backup.process.results import (
    CatalogResult,
    DrillResult,
    PinResult,
    PruneResult,
    RestoreResult,
    RunResult,
    SummaryResult,
    VerifyResult,
)
from aiidpd.kernel.errors import AiidpdError, Conflict, Invalid, Misconfigured, NotFound, Unavailable
from aiidpd.platform import codec


@dataclass(frozen=True, slots=True)
class Failure:
    """Error that ended the work; ``type`` is the name of a class of :mod:`aiidpd.kernel.errors`."""

    type: str
    action: str
    subject: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Orders:
    """State that the daemon wants from now on. ``pause`` is why the work shall wait, empty for not."""

    cancel: bool = False
    pause: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line from the process: one of its fields is set."""

    progress: Progress | None = None
    failure: Failure | None = None
    run: RunResult | None = None
    verify: VerifyResult | None = None
    summary: SummaryResult | None = None
    catalog: CatalogResult | None = None
    restore: RestoreResult | None = None
    drill: DrillResult | None = None
    prune: PruneResult | None = None
    pin: PinResult | None = None


Request: TypeAlias = (
    RunRequest
    | VerifyRequest
    | SummaryRequest
    | CatalogRequest
    | RestoreRequest
    | DrillRequest
    | PruneRequest
    | PinRequest
)
REQUESTS: Final[Mapping[str, type[Request]]] = {
    "run": RunRequest,
    "verify": VerifyRequest,
    "summary": SummaryRequest,
    "catalog": CatalogRequest,
    "restore": RestoreRequest,
    "drill": DrillRequest,
    "prune": PruneRequest,
    "pin": PinRequest,
}
_ERRORS: Final = {each.__name__: each for each in (Unavailable, Misconfigured, Conflict, NotFound, Invalid)}


def encode(message: Request | Orders | Line) -> bytes:
    """Return a message as a line."""
    return codec.compose(message).encode("ascii")


def decode_request(line: bytes) -> Request:
    """Read a request; raises :class:`ValueError`."""
    document = codec.parse(line.decode())
    if not isinstance(document, dict) or document.get("kind") not in REQUESTS:
        raise ValueError("it is no request")
    return codec.decoder(REQUESTS[document["kind"]])(document)


def decode_orders(line: bytes) -> Orders:
    """Read orders; raises :class:`ValueError`."""
    return _ORDERS(codec.parse(line.decode()))


def decode_line(line: bytes) -> Line:
    """Read a line of the process; raises :class:`ValueError`."""
    return _LINE(codec.parse(line.decode()))


def failure_of(error: AiidpdError) -> Failure:
    """Return ``error`` for the way to the daemon."""
    return Failure(type(error).__name__, error.action, error.subject, error.reason, error.remedy)


def error_of(failure: Failure) -> AiidpdError:
    """Return the error that ``failure`` was made of."""
    kind = _ERRORS.get(failure.type, Unavailable)
    return kind(failure.action, failure.subject, reason=failure.reason, remedy=failure.remedy)


_ORDERS: Final = codec.decoder(Orders)
_LINE: Final = codec.decoder(Line)
