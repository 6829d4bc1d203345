"""Locust with the workloads and the timing core of ``aiidpctl bench load``, for more than one machine.

``locust -f bench/locustfile.py --headless -u 10 -r 1 -t 5m --host http://127.0.0.1:8000 --workload chat``

Beside each request (its whole time) Locust has as request types of their own: ``ttft`` (to the first token),
``gap`` (from each chunk to the next) and ``tpot`` (per token after the first). It counts whole milliseconds.
"""

from __future__ import annotations

import argparse
import itertools
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
from gevent.socket import wait_read, wait_write
from locust import User, events, task
from locust.runners import MasterRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, where it is not installed

from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.records import Record, record_of
from aiidpd.components.bench.load.users import Request, after, request_of, wait_of
from aiidpd.components.bench.load.users import User as Virtual
from aiidpd.components.bench.load.workloads import WORKLOADS
from aiidpd.components.bench.stats import percentile
from aiidpd.engines import chat
from aiidpd.engines.faults import AnswerFaultError, Fault
from aiidpd.engines.request import http_request
from aiidpd.engines.stream import Stream, StreamReading, StreamRequest
from aiidpd.engines.target import ProbeRequest, Timeline
from aiidpd.engines.urls import page_url

_NAME: Final = "of Locust"
_BEAT: Final = 0.002  # seconds
_MOST_BEATS: Final = 100_000
_LATE_KEY: Final = "aiidpd_late_seconds"
_TOO_LATE: Final = 0.01  # seconds by which this process may be late at the 99th percentile
_NONCE: Final = secrets.token_hex(4)  # another in each worker
_NUMBERS: Final = itertools.count()


class HubDelay:
    """Beats beside the users, and notes by how much the hub of gevent was late."""

    def __init__(self) -> None:
        self.beats: list[float] = []
        self._due = time.monotonic()

    def run(self) -> None:
        """Beat for ever."""
        while True:
            self._due = time.monotonic() + _BEAT
            gevent.sleep(_BEAT)
            if len(self.beats) < _MOST_BEATS:
                self.beats.append(max(0.0, time.monotonic() - self._due))

    def before(self) -> float:
        """Return a moment before which nothing was there that has not been read."""
        now = time.monotonic()
        late = max(self.beats[-1] if self.beats else 0.0, now - self._due, 0.0)
        return now - late


HUB: Final = HubDelay()
LATE: Final[dict[str, float]] = {}
"""Seconds by which each process that sends requests was late, at the 99th percentile."""


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workload", default="chat", choices=sorted(WORKLOADS), help="requests of a user")
    parser.add_argument("--model", default="", help="the model to request")
    parser.add_argument("--api-key-file", default="", help="file that holds the server's key")
    parser.add_argument("--seed", type=int, default=1, help="which requests are sent")
    parser.add_argument("--request-timeout", type=float, default=120.0, help="seconds of a request")


@events.test_start.add_listener
def _begin(environment: Any, **_more: Any) -> None:
    LATE.clear()
    HUB.beats.clear()
    if not isinstance(environment.runner, MasterRunner):  # that sends no requests
        environment.aiidpd_hub = gevent.spawn(HUB.run)


@events.test_stop.add_listener
def _end(environment: Any, **_more: Any) -> None:
    if (hub := getattr(environment, "aiidpd_hub", None)) is not None:
        hub.kill()
        LATE["this process"] = percentile(sorted(HUB.beats), 0.99) or 0.0


@events.report_to_master.add_listener
def _report(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001 -- Locust names its arguments
    data[_LATE_KEY] = percentile(sorted(HUB.beats), 0.99) or 0.0


@events.worker_report.add_listener
def _reported(client_id: str, data: dict[str, Any]) -> None:
    LATE[f"worker {client_id}"] = float(data.get(_LATE_KEY, 0.0))


@events.quitting.add_listener
def _judge(environment: Any, **_more: Any) -> None:
    """Say which processes were too late for their figures to count; the exit code is 1 then."""
    for name, late in LATE.items():
        if late > _TOO_LATE:
            words = f"INVALID: {name} was late by {late * 1e3:.3g} ms (p99): give it more of a processor"
            sys.stderr.write(f"aiidpd: {words}\n")
            environment.process_exit_code = 1


class WorkloadUser(User):
    """User of the workload that ``--workload`` names."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        self._workload = WORKLOADS[options.workload]
        self._draws = Draws(options.seed)
        self._user = Virtual(next(_NUMBERS))
        self._model = options.model
        self._timeout = options.request_timeout
        self._key = Path(options.api_key_file).read_text().strip() if options.api_key_file else ""
        self._counting = True
        self._wait = 0.0
        parts = urlsplit(page_url(self.host or "", _NAME, "/"))
        if parts.scheme != "http":
            raise ValueError(f"{self.host}: a load is measured over plain HTTP alone")
        found = socket.getaddrinfo(parts.hostname or "", parts.port or 80, type=socket.SOCK_STREAM)
        self._address = (str(found[0][4][0]), parts.port or 80)

    def wait_time(self) -> float:
        """Return for how many seconds it waits now."""
        return self._wait

    @task
    def turn(self) -> None:
        """Send the next request of the workload, and give Locust its figures."""
        request = request_of(self._user, self._workload, self._draws, _NONCE)
        self._wait = wait_of(self._user, self._workload, self._draws)
        begun = time.monotonic()
        text: str | None = None
        try:
            timeline = self._answer(request)
            text = timeline.text
        except AnswerFaultError as fault:
            took = (time.monotonic() - begun) * 1e3
            words = str(fault).replace(self._key, "[API key]") if self._key else str(fault)
            self._fire("POST", request, took, exception=RuntimeError(f"{fault.fault.value}: {words}"))
        else:
            growing = self._workload.turns is not None
            record = record_of(
                request.kind.name, begun, time.monotonic(), timeline, late=0.0, growing=growing
            )
            for kind, seconds in _figures(record):
                self._fire(
                    kind, request, seconds * 1e3, tokens=record.output_tokens if kind == "POST" else None
                )
        self._user = after(self._user, self._workload, self._draws, request, text)

    def _answer(self, request: Request) -> Timeline:
        try:
            return self._streamed(self._encode(request))
        except AnswerFaultError as fault:
            if fault.fault is not Fault.REFUSED or not self._counting:
                raise
            self._counting = False  # some servers refuse to count tokens in each chunk
        return self._streamed(self._encode(request))

    def _encode(self, request: Request) -> StreamRequest:
        if request.is_page:
            page = page_url(self.host or "", _NAME, "/v1/models")
            return StreamRequest(http_request(page, self._key), 1, page=True)
        probe = ProbeRequest(request.prompt, request.max_tokens, self._timeout, self._timeout)
        form = request.kind.form
        body = chat.body(self._model, probe, form, counting=self._counting, said=request.said)
        page = page_url(self.host or "", _NAME, form)
        return StreamRequest(http_request(page, self._key, body), request.max_tokens)

    def _streamed(self, request: StreamRequest) -> Timeline:
        """Return the record of one answer; raises :class:`AnswerFaultError`."""
        stream, reading = Stream(self._address, request, time.monotonic), StreamReading(request)
        deadline = time.monotonic() + self._timeout
        try:
            while not stream.over and not reading.done and (left := deadline - time.monotonic()) > 0:
                if stream.connected is None:
                    wait_write(stream.fileno(), left)
                    stream.connect()
                elif stream.sent is None:
                    if not stream.send() and not stream.over:
                        wait_write(stream.fileno(), left)
                else:
                    part = stream.receive(HUB.before())
                    if part is not None:
                        reading.feed(*part)
                    elif not stream.over:
                        wait_read(stream.fileno(), left)
        except TimeoutError:
            pass  # the record says how far it came
        finally:
            stream.close()
        return reading.timeline(stream)

    def _fire(
        self,
        kind: str,
        request: Request,
        milliseconds: float,
        *,
        tokens: int | None = None,
        exception: Exception | None = None,
    ) -> None:
        self.environment.events.request.fire(
            request_type=kind,
            name=f"{self._workload.name}: {request.kind.name}",
            response_time=milliseconds,
            response_length=tokens or 0,
            exception=exception,
            context={},
        )


def _figures(record: Record) -> Iterator[tuple[str, float]]:
    """Yield what Locust is to count of an answer, in seconds; what is not known is not counted."""
    if record.whole is not None:
        yield "POST", record.whole
    if record.ttft is not None:
        yield "ttft", record.ttft
    if record.tpot is not None:
        yield "tpot", record.tpot
    for before, later in pairwise(record.arrivals):
        yield "gap", later - before
