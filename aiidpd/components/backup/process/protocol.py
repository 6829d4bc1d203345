"""Requests and replies of the backup process: a JSON line each (pure).

The daemon writes one request to the standard input of a new process, then maybe orders; the process writes
progress, and at last a result or an error. A process serves one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from aiidpd.components.backup.process.control import Progress
from aiidpd.kernel.errors import AiidpdError, Conflict, Invalid, Misconfigured, NotFound, Unavailable
from aiidpd.platform import codec

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Order to make a snapshot. Sizes in bytes, times in seconds, ``rate`` in bytes a second (0: no limit).

    ``expected`` is the id of the target that was used so far, empty for none. ``adopt`` uses the target as it
    is, whatever that was. ``settle`` is how long a file must not have changed before it is read.
    """

    source: str
    target: str
    expected: str = ""
    adopt: bool = False
    exclude: tuple[str, ...] = ()
    reserve: int = 0
    rate: int = 0
    settle: float = 5.0
    xattrs: bool = False
    kind: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class RunResult:
    """Outcome of a run that ended. ``unchanged``: the source is as ``snapshot`` has it; no new one was made.

    ``left_out`` maps what should be in the snapshot and is not to the reason, ``rotten`` what reads otherwise
    than it was backed up, though nothing has changed it, to the SHA-256 of that. ``rewritten`` are files with
    other content under an old time, of which ``protected`` has the earlier one. ``own_copies``: the target
    has no hard links, so that each snapshot takes its whole room.
    """

    target: str
    snapshot: str
    unchanged: bool
    files: int
    bytes: int
    copied_files: int = 0
    copied_bytes: int = 0
    linked_files: int = 0
    linked_bytes: int = 0
    read_bytes: int = 0
    left_out: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    rotten: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    rewritten: tuple[str, ...] = ()
    protected: str = ""
    own_copies: bool = False


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


Request: TypeAlias = RunRequest
REQUESTS: Final[Mapping[str, type[Request]]] = {"run": RunRequest}
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
