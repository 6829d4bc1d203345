"""One client's connection: one request at a time, each judged, written anew, and answered."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any, Final, NamedTuple

from aiidpd.gate.engine import Engine, EngineAbsent, EngineFailed, Exchange
from aiidpd.gate.holds import Holds
from aiidpd.gate.judgement import Judgement, key_of
from aiidpd.gate.load import SettingsFile
from aiidpd.gate.log import INFO, WARNING, Log
from aiidpd.gate.message import (
    LONGEST_HEAD,
    Answer,
    Malformed,
    Request,
    parse_request,
    target_of,
    write_answer,
    write_chunk,
    write_error,
)
from aiidpd.gate.permission import Subject
from aiidpd.gate.rules import COPY, IMAGE, PULL, Access, Matched, Refusal, match
from aiidpd.gate.settings import WrongSettings
from aiidpd.gate.wire import Gone, linger, read_head, send

_REFUSED: Final = 400
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_SHOWN: Final = 120  # characters of a path in the log


class Limits(NamedTuple):
    """Bounds of a connection: seconds, and bytes of one answer.

    ``step``: for another step of the same container to end. ``pull``: for an image to be fetched.
    """

    idle: float = 300.0
    head: float = 5.0
    write: float = 10.0
    answer: float = 120.0
    step: float = 5.0
    pull: float = 3600.0
    answer_bytes: int = 64 << 20


class Peer(NamedTuple):
    """Process that has connected, as the kernel knows it."""

    pid: int
    uid: int


class Session:
    """Serves one connection in a thread of its own."""

    def __init__(
        self,
        client: socket.socket,
        peer: Peer,
        settings: SettingsFile,
        log: Log,
        limits: Limits,
        *,
        holds: Holds,
    ) -> None:
        self._client = client
        self._peer = peer
        self._settings = settings
        self._log = log
        self._limits = limits
        self._holds = holds

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
        within = self._limits.answer + matched.within
        try:
            engine = Engine(self._settings.read().engine)
            if matched.access is Access.ACT:
                return self._act(engine, request, matched)
            exchange = engine.call(matched.method, matched.target, client=self._client, within=within)
        except WrongSettings as error:
            return self._fail(request, 503, f"its configuration is wrong: {error}")
        except EngineFailed as error:
            return self._fail(request, error.status, str(error), absent=isinstance(error, EngineAbsent))
        with closing(exchange):
            return self._pass_on(exchange, request, None if matched.endless else within)

    def _act(self, engine: Engine, request: Request, matched: Matched) -> bool:
        """Carry out an act on a container, if it is let through."""
        judgement = Judgement(partial(self._fetch, engine), self._settings.read().rules, self._settings.path)
        subject, document = judgement.subject(matched.container)
        key = "" if subject is None else key_of(matched, subject)
        with self._holds.hold(key, 0 if matched.verb == PULL else self._limits.step) as free:
            if key:
                subject, document = judgement.subject(matched.container)  # a step before may have changed it
            if subject is None:
                # In the engine's words, by which a client knows that there is none.
                return self._refuse(request, _NOT_FOUND, f"No such container: {matched.container}")
            if not free or key_of(matched, subject) != key:
                kind = key.partition(" ")[0]
                return self._refuse(request, 409, f"another {kind} of {subject.name} goes on")
            refusal = judgement.refusal(matched, subject)
            if refusal:
                return self._deny(request, 403, refusal, keep=True)
            self._log.line(INFO, f"{matched.verb} {subject.name} ({subject.identity[:12]}) for {self._who}")
            if matched.verb in (COPY, IMAGE, PULL):
                return self._own(engine, request, matched, subject, document)
            return self._do(engine, request, matched, matched.target_for(subject.identity))

    def _do(
        self, engine: Engine, request: Request, matched: Matched, target: str, *, whole: float | None = None
    ) -> bool:
        """Have the engine do it, and pass its answer on; all of that within ``whole`` seconds."""
        within = self._limits.answer + matched.within
        until = None if whole is None else time.monotonic() + whole
        exchange = engine.call(matched.method, target, client=self._client, within=whole or within)
        with closing(exchange):
            return self._pass_on(exchange, request, within, until)

    def _own(
        self, engine: Engine, request: Request, matched: Matched, subject: Subject, document: Any
    ) -> bool:
        """Carry out an operation of the gate's own, to its end: whether or not the client stays."""
        from aiidpd.gate.operations import operate  # noqa: PLC0415 -- seldom, and it needs memory

        fetch = partial(engine.fetch, client=None, within=self._limits.answer)
        try:
            made, query = operate(fetch, matched, subject, document, self._settings.read().rules)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return self._fail(request, 502, f"the description of the container is odd: {error!r:.100}")
        if query:
            target = target_of("/images/create", query)
            return self._do(engine, request, matched, target, whole=self._limits.pull)
        if made.status == _FORBIDDEN:
            return self._deny(request, _FORBIDDEN, made.reason, keep=True)
        if made.status >= _REFUSED:
            return self._refuse(request, made.status, made.reason)
        body = json.dumps({"Id": made.identity}).encode("ascii") if made.identity else b""
        answer = Answer(made.status or 201, (("content-type", "application/json"),), len(body))
        self._send(write_answer(answer, close=request.close) + body)
        return not request.close

    def _fetch(
        self, engine: Engine, method: str, target: str, document: Mapping[str, Any] | None
    ) -> tuple[int, Any]:
        return engine.fetch(method, target, document, client=self._client, within=self._limits.answer)

    def _pass_on(
        self, exchange: Exchange, request: Request, within: float | None, until: float | None = None
    ) -> bool:
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
                left = within if until is None else max(0.0, until - time.monotonic())
                piece = exchange.piece(self._client, left)
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

    def _refuse(self, request: Request, status: int, reason: str) -> bool:
        """Answer as the engine does where it refuses: that is no denial, and no fault."""
        self._send(write_error(status, reason, close=request.close, author=""))
        return not request.close

    def _fail(self, request: Request, status: int, reason: str, *, absent: bool = False) -> bool:
        if absent:
            self._log.rarely(INFO, reason)  # each call finds that again
        else:
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
