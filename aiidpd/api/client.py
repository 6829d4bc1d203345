"""Client of the control API: the standard library only, so that a command starts at once."""

from __future__ import annotations

import json
import socket
from functools import partial

from aiidpd.api.wire import Answer, quoted, request, target

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Any, Self, TypeVar

    _T = TypeVar("_T")

DEFAULT_SOCKET = "/run/aiidpd/control.sock"
SILENCE = 10.0  # seconds: a stream sends something every 2

_BAD_REQUEST, _FORBIDDEN = 400, 403


class ControlError(Exception):
    """A request that was not carried out; a command ends with ``exit_code``."""

    exit_code = 1


class DaemonUnreachable(ControlError):
    """Nobody answers at the socket."""

    exit_code = 3


class AccessDenied(ControlError):
    """A peer that may not make this request."""

    exit_code = 4


class RequestFailed(ControlError):
    """An error that the daemon answered with: ``problem`` is its document (RFC 9457), ``status`` the code."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(str(problem.get("detail") or f"the daemon answered with status {status}"))


class _RequestDenied(RequestFailed, AccessDenied):
    """A refusal by the daemon itself."""


class ControlClient:
    """Talks to the daemon at the Unix socket ``path``; a context manager. Not for two threads at once.

    ``timeout`` (seconds) bounds each wait for an answer. Paths are those of the API, ``/v1/...``. Every
    method raises :class:`ControlError`: :class:`DaemonUnreachable`, :class:`AccessDenied`, or
    :class:`RequestFailed`.
    """

    def __init__(self, path: str = DEFAULT_SOCKET, *, timeout: float = 30.0) -> None:
        self._path = path
        self._timeout = timeout
        self._connection: socket.socket | None = None
        self._answer: Answer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens one again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = self._answer = None

    def get(self, path: str, **query: Any) -> Any:
        """Return the document at ``path``."""
        return self._document("GET", target(path, query))

    def get_named(self, path: str, name: str) -> Any:
        """Return the document below ``path`` of what is called ``name``, which may hold slashes."""
        return self._document("GET", f"{target(path, {})}/{quoted(name)}")

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Request the change at ``path``; return the document that the daemon answers with."""
        return self._document("POST", path, json.dumps(body or {}).encode())

    def stream(self, path: str, **query: Any) -> Iterator[Any]:
        """Yield the documents of the stream at ``path`` as they come, heartbeats left out.

        Ends when the daemon ends the stream as it should, and raises :class:`DaemonUnreachable` where it
        breaks off or falls silent.
        """
        return self.lines(path, **query, follow=True)

    def lines(self, path: str, **query: Any) -> Iterator[Any]:
        """Yield the documents of a ``path`` whose every answer is a stream; see :meth:`stream`."""
        with ControlClient(self._path, timeout=SILENCE) as own:  # a stream has its connection to itself
            pieces = own._exchange("GET", target(path, query)).pieces()
            begun = b""
            while piece := own._guarded(lambda: next(pieces, b"")):
                *lines, begun = (begun + piece).split(b"\n")
                for line in lines:
                    document = own._guarded(partial(json.loads, line))
                    if "heartbeat" not in document:
                        yield document

    def _document(self, method: str, target: str, body: bytes | None = None) -> Any:
        answer = self._exchange(method, target, body)
        return self._guarded(lambda: json.loads(answer.read()))

    def _exchange(self, method: str, target: str, body: bytes | None = None) -> Answer:
        if method != "GET" or (self._answer is not None and not self._answer.reusable):
            self.close()  # a change is sent once: on a connection that can't have been closed while idle
        reused = self._connection is not None
        try:
            answer = self._guarded(lambda: self._send(method, target, body))
        except _Hangup:
            if not reused:
                raise
            # The daemon may close a connection that was idle; nothing of this request was done then.
            answer = self._guarded(lambda: self._send(method, target, body))
        if answer.status >= _BAD_REQUEST:
            raise self._problem(answer)
        return answer

    def _send(self, method: str, target: str, body: bytes | None) -> Answer:
        given = request(method, target, body)
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._connection.settimeout(self._timeout)
            self._connection.connect(self._path)
        try:  # noqa: SIM105 -- contextlib would have to be loaded
            self._connection.sendall(given)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may close before it has read all: what it sent first is there, or the answer fails
        self._answer = Answer(self._connection.recv)
        return self._answer

    def _problem(self, answer: Answer) -> RequestFailed:
        raw = self._guarded(answer.read)
        try:
            problem = json.loads(raw)
        except ValueError:
            problem = {}
        kind = _RequestDenied if answer.status == _FORBIDDEN else RequestFailed
        return kind(answer.status, problem if isinstance(problem, dict) else {})

    def _guarded(self, step: Callable[[], _T]) -> _T:
        """Return what ``step`` does, its errors raised as ours."""
        where = f"cannot reach the daemon at {self._path}"
        try:
            return step()
        except FileNotFoundError:
            raise self._end(
                DaemonUnreachable(f"{where}: there is no such socket; is aiidpd running?")
            ) from None
        except ConnectionRefusedError:
            raise self._end(DaemonUnreachable(f"{where}: nobody listens there; is aiidpd running?")) from None
        except PermissionError:
            reason = "this user may not use the socket; ask as root or as a member of its group"
            raise self._end(AccessDenied(f"{where}: {reason}")) from None
        except TimeoutError:
            reason = f"it did not answer within {self._timeout:g} s"
            raise self._end(DaemonUnreachable(f"{where}: {reason}")) from None
        except ConnectionError as error:
            raise self._end(_Hangup(f"{where}: it closed the connection")) from error
        except (OSError, ValueError) as error:
            raise self._end(DaemonUnreachable(f"{where}: {error or type(error).__name__}")) from error

    def _end(self, error: ControlError) -> ControlError:
        self.close()
        return error


class _Hangup(DaemonUnreachable):
    """A connection that the daemon closed."""
