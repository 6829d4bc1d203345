"""One client's connection: one request at a time, each judged, written anew, and answered."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Final, NamedTuple

from aiidpd.gate.engine import Engine, EngineFailed, Exchange
from aiidpd.gate.load import SettingsFile
from aiidpd.gate.log import INFO, WARNING, Log
from aiidpd.gate.message import (
    LONGEST_HEAD,
    Malformed,
    Request,
    parse_request,
    write_answer,
    write_chunk,
    write_error,
)
from aiidpd.gate.permission import is_permitted, subject_of
from aiidpd.gate.rules import Access, Matched, Refusal, match
from aiidpd.gate.settings import WrongSettings
from aiidpd.gate.wire import Gone, linger, read_head, send

_OK: Final = 200
_NOT_FOUND: Final = 404
_SHOWN: Final = 120  # characters of a path in the log


class Limits(NamedTuple):
    """Bounds of a connection: seconds, and bytes of one answer."""

    idle: float = 300.0
    head: float = 5.0
    write: float = 10.0
    answer: float = 120.0
    answer_bytes: int = 64 << 20


class Peer(NamedTuple):
    """Process that has connected, as the kernel knows it."""

    pid: int
    uid: int


class Session:
    """Serves one connection in a thread of its own."""

    def __init__(
        self, client: socket.socket, peer: Peer, settings: SettingsFile, log: Log, limits: Limits
    ) -> None:
        self._client = client
        self._peer = peer
        self._settings = settings
        self._log = log
        self._limits = limits

    def run(self) -> None:
        """Serve until the client leaves or breaks a rule. Raises nothing of either side's."""
        with self._client:
            try:
                while self._one():
                    pass
            except (OSError, Gone):
                return

    def _one(self) -> bool:
        """Serve one request; return whether another may follow."""
        limits = self._limits
        try:
            head, more = read_head(self._client, LONGEST_HEAD, idle=limits.idle, whole=limits.head)
            if not head:
                return False
            request = parse_request(head)
        except Malformed as error:
            return self._drop(error.status, str(error))
        whole = not request.body and not more
        try:
            matched = match(request)
        except Refusal as error:
            return self._deny(request, 403, str(error), keep=whole)
        if not whole:
            return self._deny(
                request, 400, "bytes follow its head: no call has a body, and none comes early", keep=False
            )
        return self._carry_out(request, matched)

    def _carry_out(self, request: Request, matched: Matched) -> bool:
        target, within = matched.target, self._limits.answer + matched.within
        try:
            engine = Engine(self._settings.read().engine)
            if matched.access is Access.ACT:
                identity = self._permitted(engine, request, matched)
                if not identity:
                    return not request.close
                target = matched.target_for(identity)
            exchange = engine.call(matched.method, target, client=self._client, within=within)
        except WrongSettings as error:
            return self._fail(request, 503, f"its configuration is wrong: {error}")
        except EngineFailed as error:
            return self._fail(request, error.status, str(error))
        with closing(exchange):
            return self._pass_on(exchange, request, None if matched.endless else within)

    def _permitted(self, engine: Engine, request: Request, matched: Matched) -> str:
        """Return the whole id of the container that may be acted on; empty where the client has its answer.

        The id and the labels are the engine's own: a name may lead elsewhere a moment later, an id can't.
        """
        status, document = engine.describe(matched.container, client=self._client, within=self._limits.answer)
        if status == _NOT_FOUND:
            # In the engine's words, by which a client knows that there is none.
            self._send(
                write_error(
                    _NOT_FOUND, f"No such container: {matched.container}", close=request.close, author=""
                )
            )
            return ""
        subject = subject_of(document) if status == _OK else None
        if subject is None:
            raise EngineFailed(502, f"the engine does not describe the container (status {status})")
        who = f"{matched.verb} {subject.name} ({subject.identity[:12]}) for {self._who}"
        if not is_permitted(subject, matched.verb, self._settings.read().rules):
            reason = (
                f"{matched.verb} of {subject.name} is not let through: neither a label of it (aiidpd.heal, "
                f"aiidpd.upgrade) nor {self._settings.path} allows it"
            )
            self._log.line(WARNING, f"denied {who}: neither label nor configuration names it")
            self._send(write_error(403, reason, close=request.close))
            return ""
        self._log.line(INFO, who)
        return subject.identity

    def _pass_on(self, exchange: Exchange, request: Request, within: float | None) -> bool:
        answer, most = exchange.answer, self._limits.answer_bytes
        if within is not None and answer.length is not None and answer.length > most:
            return self._fail(request, 502, "the engine's answer is too long")
        waiting = write_answer(answer, close=request.close, method=request.method)
        passed = 0
        try:
            while not exchange.ended:
                if waiting and (answer.length is None or within is None):
                    # An answer without an end may bring nothing for long: its head must not wait for that.
                    self._send(waiting)
                    waiting = b""
                piece = exchange.piece(self._client, within)
                if not piece:
                    continue
                passed += len(piece)
                if within is not None and passed > most:
                    self._log.line(WARNING, f"cut off an answer of over {most} bytes to {self._who}")
                    return False
                self._send(waiting + (piece if answer.length is not None else write_chunk(piece)))
                waiting = b""
        except EngineFailed as error:
            self._log.line(WARNING, f"cut off an answer to {self._who}: {error}")
            return False
        self._send(waiting + (b"" if answer.length is not None else write_chunk(b"")))
        return not request.close

    def _fail(self, request: Request, status: int, reason: str) -> bool:
        self._log.line(WARNING, f"{request.method} {request.path[:_SHOWN]} failed: {reason}")
        self._send(write_error(status, reason, close=request.close, method=request.method))
        return not request.close

    def _deny(self, request: Request, status: int, reason: str, *, keep: bool) -> bool:
        keep = keep and not request.close
        self._log.line(WARNING, f"denied {request.method} {request.path[:_SHOWN]} for {self._who}: {reason}")
        self._send(write_error(status, reason, close=not keep, method=request.method))
        if not keep:
            linger(self._client)
        return keep

    def _drop(self, status: int, reason: str) -> bool:
        """Answer what is no request, and end the connection: nobody knows where the next one begins."""
        self._log.line(WARNING, f"denied a request of {self._who}: {reason}")
        self._send(write_error(status, reason, close=True))
        linger(self._client)
        return False

    def _send(self, data: bytes) -> None:
        send(self._client, data, self._limits.write)

    @property
    def _who(self) -> str:
        return f"uid {self._peer.uid} pid {self._peer.pid}"
