"""The client of the control API: the standard library only, so that a command starts at once."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

DEFAULT_SOCKET = "/run/aiidpd/control.sock"
SILENCE = 10.0  # seconds: a stream says something every 2

_PIECE = 65536  # bytes
_T = TypeVar("_T")


class ControlError(Exception):
    """The request was not done. ``exit_code`` is what a command ends with."""

    exit_code = 1


class DaemonUnreachable(ControlError):
    """Nobody answers at the socket."""

    exit_code = 3


class AccessDenied(ControlError):
    """The one who asks may not do this."""

    exit_code = 4


class RequestFailed(ControlError):
    """The daemon answered with an error; ``problem`` is its document (RFC 9457), ``status`` its status."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(str(problem.get("detail") or f"the daemon answered with status {status}"))


class _RequestDenied(RequestFailed, AccessDenied):
    """The daemon itself said no."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to the Unix socket at ``path``."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ControlClient:
    """Talks to the daemon at the Unix socket ``path``; a context manager. Not for two threads at once.

    ``timeout`` (seconds) bounds each wait for an answer. Paths are those of the API, ``/v1/...``. Every
    method raises :class:`ControlError`: :class:`DaemonUnreachable`, :class:`AccessDenied`, or
    :class:`RequestFailed`.
    """

    def __init__(self, path: str = DEFAULT_SOCKET, *, timeout: float = 30.0) -> None:
        self._path = path
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; the next request opens one again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, **query: Any) -> Any:
        """Return the document at ``path``."""
        return self._document("GET", _target(path, query))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for the change at ``path``; return the document that the daemon answers with."""
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
            response = own._ask("GET", _target(path, query))
            # Not readline(): at the end it can't tell a stream that has ended from one that broke off.
            begun = b""
            while piece := own._guarded(lambda: response.read1(_PIECE)):
                *lines, begun = (begun + piece).split(b"\n")
                for line in lines:
                    document = own._guarded(partial(json.loads, line))
                    if "heartbeat" not in document:
                        yield document

    def _document(self, method: str, target: str, body: bytes | None = None) -> Any:
        response = self._ask(method, target, body)
        return self._guarded(lambda: json.loads(response.read()))

    def _ask(self, method: str, target: str, body: bytes | None = None) -> http.client.HTTPResponse:
        if method != "GET":
            self.close()  # a change is sent once: on a connection that can't have been closed while idle
        reused = self._connection is not None
        try:
            response = self._guarded(lambda: self._send(method, target, body))
        except _Hangup:
            if not reused:
                raise
            # The daemon may close a connection that was idle; nothing of this request was done then.
            response = self._guarded(lambda: self._send(method, target, body))
        if response.status >= http.client.BAD_REQUEST:
            raise self._problem(response)
        return response

    def _send(self, method: str, target: str, body: bytes | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = _UnixConnection(self._path, self._timeout)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        # It may close before it has read all: what it said first is there, or the answer fails.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.request(method, target, body, headers)
        return self._connection.getresponse()

    def _problem(self, response: http.client.HTTPResponse) -> RequestFailed:
        raw = self._guarded(response.read)
        try:
            problem = json.loads(raw)
        except ValueError:
            problem = {}
        kind = _RequestDenied if response.status == http.client.FORBIDDEN else RequestFailed
        return kind(response.status, problem if isinstance(problem, dict) else {})

    def _guarded(self, step: Callable[[], _T]) -> _T:
        """Return what ``step`` does, its errors told as ours."""
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
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            raise self._end(_Hangup(f"{where}: it closed the connection")) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._end(DaemonUnreachable(f"{where}: {error or type(error).__name__}")) from error

    def _end(self, error: ControlError) -> ControlError:
        self.close()
        return error


class _Hangup(DaemonUnreachable):
    """The daemon closed the connection."""


def _target(path: str, query: Mapping[str, Any]) -> str:
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    return f"{quote(path)}?{urlencode(given)}" if given else quote(path)
