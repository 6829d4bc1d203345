"""One client's connection: one request at a time, each judged, written anew, and answered."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final, NamedTuple

from aiidpd.gate.engine import Engine, EngineAbsent, EngineFailed, Exchange
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
from aiidpd.gate.permission import Subject, is_permitted, subject_of
from aiidpd.gate.recreation import copy_refusal, place_of, removal_refusal, rename_refusal
from aiidpd.gate.rules import COPY, RECREATING, REMOVE, RENAME, Access, Matched, Refusal, match
from aiidpd.gate.settings import RECREATE, WrongSettings
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
                subject, document = self._subject(engine, matched)
                if subject is None:
                    # In the engine's words, by which a client knows that there is none.
                    reason = f"No such container: {matched.container}"
                    self._send(write_error(_NOT_FOUND, reason, close=request.close, author=""))
                    return not request.close
                refusal = self._refusal(engine, matched, subject)
                if refusal:
                    return self._deny(request, 403, refusal, keep=True)
                self._log.line(
                    INFO, f"{matched.verb} {subject.name} ({subject.identity[:12]}) for {self._who}"
                )
                if matched.verb == COPY:
                    return self._copy(engine, request, matched.name, document)
                target = matched.target_for(subject.identity)
            exchange = engine.call(matched.method, target, client=self._client, within=within)
        except WrongSettings as error:
            return self._fail(request, 503, f"its configuration is wrong: {error}")
        except EngineFailed as error:
            return self._fail(request, error.status, str(error), absent=isinstance(error, EngineAbsent))
        with closing(exchange):
            return self._pass_on(exchange, request, None if matched.endless else within)

    def _subject(self, engine: Engine, matched: Matched) -> tuple[Subject | None, Any]:
        """Return the container that is named, None where there is none, and its description.

        Id and labels are the engine's own: a name may lead elsewhere a moment later, an id can't.
        """
        status, document = self._fetch(engine, "GET", f"/containers/{matched.container}/json")
        subject = subject_of(document) if status == _OK else None
        if subject is None and status != _NOT_FOUND:
            raise EngineFailed(502, f"the engine does not describe the container (status {status})")
        return subject, document

    def _refusal(self, engine: Engine, matched: Matched, subject: Subject) -> str:
        """Return why the act is not let through, an empty text where it is."""
        verb, name = matched.verb, subject.name
        act = RECREATE if verb in RECREATING else verb
        if not is_permitted(subject, act, self._settings.read().rules):
            labels = "aiidpd.heal=recreate" if act == RECREATE else "aiidpd.heal, aiidpd.upgrade"
            return f"to {act} {name} neither a label of it ({labels}) nor {self._settings.path} allows"
        if verb == RENAME:
            return rename_refusal(name, matched.name)
        if verb == COPY:
            return copy_refusal(name, matched.name, self._related(engine, subject))
        if verb == REMOVE:
            return removal_refusal(name, self._related(engine, subject))
        return ""

    def _related(self, engine: Engine, subject: Subject) -> tuple[str, ...]:
        """Return the names of the other containers whose names have that of this one's place in them."""
        filters = json.dumps({"name": [re.escape(place_of(subject.name).base)]})
        target = target_of("/containers/json", (("all", "1"), ("filters", filters)))
        status, document = self._fetch(engine, "GET", target)
        if status != _OK or not isinstance(document, list):
            raise EngineFailed(502, f"the engine does not list its containers (status {status})")
        others = [each for each in document if isinstance(each, dict) and each.get("Id") != subject.identity]
        return tuple(str(name).removeprefix("/") for each in others for name in each.get("Names") or ())

    def _copy(self, engine: Engine, request: Request, name: str, document: Any) -> bool:
        from aiidpd.gate.copies import make_copy  # noqa: PLC0415 -- seldom, and it needs memory

        def fetch(method: str, target: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
            return self._fetch(engine, method, target, body)

        try:
            made = make_copy(fetch, document, name)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return self._fail(request, 502, f"the description of the container is odd: {error!r:.100}")
        if not made.identity:
            self._send(write_error(made.status, made.reason, close=request.close, author=""))
            return not request.close
        body = json.dumps({"Id": made.identity}).encode("ascii")
        answer = Answer(201, (("content-type", "application/json"),), len(body))
        self._send(write_answer(answer, close=request.close) + body)
        return not request.close

    def _fetch(
        self, engine: Engine, method: str, target: str, document: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        return engine.fetch(method, target, document, client=self._client, within=self._limits.answer)

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
