"""Measurement of a load, in a process that does nothing else: levels of load, or depths."""

from __future__ import annotations

import itertools
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from aiidpd.components.bench.accept.server import Described, RequestFailedError, describe
from aiidpd.components.bench.load import depths
from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.figures import Goals, LoadFigures, Window, figures_of
from aiidpd.components.bench.load.plan import Plan
from aiidpd.components.bench.load.ramp import Knee, Level, Limits, step
from aiidpd.components.bench.load.source import Load, LoadSource, Progress, level_words, means_of
from aiidpd.components.bench.load.users import Request, User, request_of
from aiidpd.components.bench.load.workloads import WORKLOADS, Content
from aiidpd.components.bench.stats import measure, percentile
from aiidpd.engines import chat
from aiidpd.engines.chat import Form
from aiidpd.engines.faults import Fault, ProbeFailed
from aiidpd.engines.request import http_request
from aiidpd.engines.stream import Streamed, StreamRequest, redacted
from aiidpd.engines.streams import Streams
from aiidpd.engines.target import ProbeRequest, Timeline
from aiidpd.engines.traffic import Course, Traffic
from aiidpd.engines.urls import page_url
from aiidpd.kernel.errors import Misconfigured

_NAME: Final = "under load"
_MODELS: Final = "/v1/models"
_SETTLE: Final = 1.0  # seconds after a level that was too much, before each try whether it is over
_SETTLING: Final = 5  # such tries
_TRIES: Final = 3  # of a depth
_SPARE: Final = 8  # requests beyond the users that may be in the system
_REMEDIES: Final = {
    Fault.UNAUTHORIZED: "give the server's key by --api-key-file",
    Fault.NOT_FOUND: "see that the server has this page and model, or take another --workload",
}
_REMEDY: Final = "see that the server runs and that the URL is its"


@dataclass(frozen=True, slots=True)
class LevelResult:
    """One level of load and its figures. ``short`` is why fewer users were on the wire than asked for."""

    load: float
    words: str
    users: int | None
    rate: float | None
    figures: LoadFigures
    on_wire: int
    in_system: float | None
    client_delay_p99: float | None
    client_cpu_share: float
    saturated: str = ""
    hopeless: str = ""
    short: str = ""
    interrupted: bool = False

    @property
    def invalid(self) -> str:
        """Return why its figures do not count, empty where they do."""
        return self.short or self.figures.invalid


@dataclass(frozen=True, slots=True)
class Measurement:
    """Levels or depths that were measured, and what the server says of itself."""

    described: Described
    levels: tuple[LevelResult, ...] = ()
    knee: Knee | None = None
    depths: tuple[depths.DepthRow, ...] = ()
    interrupted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Loading:
    """Measures by ``plan``; ``write`` is called with words for people and with progress."""

    plan: Plan
    write: Callable[..., None]
    stopped: threading.Event
    monotonic: Callable[[], float] = time.monotonic
    nonce: Callable[[], str] = lambda: secrets.token_hex(4)
    _counting: bool = True
    _model: str = ""
    _notes: list[str] = field(default_factory=list)

    def run(self) -> Measurement:
        """Measure. Blocks; raises :class:`Misconfigured` and :class:`ProbeFailed`."""
        plan = self.plan
        page = page_url(plan.url, _NAME, Form.CHAT)  # raises for what is no URL
        if urlsplit(page).scheme != "http":
            reason = "a load is measured over plain HTTP alone"
            raise Misconfigured("load", plan.url, reason=reason, remedy="name the server behind TLS")
        try:
            described = describe(plan.url, plan.model, plan.api_key, plan.timeout)
        except RequestFailedError as error:
            remedy = _REMEDIES.get(error.fault, _REMEDY)
            raise ProbeFailed(plan.url, error.fault, reason=str(error), remedy=remedy) from None
        self._model = described.model
        self._warm()
        if plan.depths:
            rows = self._depths()
            return Measurement(
                described, depths=rows, interrupted=self.stopped.is_set(), notes=tuple(self._notes)
            )
        levels, knee = self._levels()
        return Measurement(
            described, tuple(levels), knee, interrupted=self.stopped.is_set(), notes=tuple(self._notes)
        )

    def _levels(self) -> tuple[list[LevelResult], Knee | None]:
        plan = self.plan
        if not plan.ramp:
            return [self._level(plan.users, plan.rate)], None
        first = plan.users if plan.rate is None else plan.rate
        goals = plan.ttft_limit is not None or plan.tpot_limit is not None
        limits = Limits(first, max(plan.most, first), whole=plan.rate is None, limited=goals)
        levels: list[LevelResult] = []
        while True:
            following = step([_ramped(each) for each in levels], limits)
            if isinstance(following, Knee):
                return levels, following
            whole = round(following)
            found = self._level(whole, None) if plan.rate is None else self._level(1, following)
            if found.interrupted:
                return [*levels, found], None
            levels.append(found)
            if found.saturated:
                self._settle()

    def _level(self, users: int, rate: float | None) -> LevelResult:
        plan = self.plan
        workload = WORKLOADS[plan.workload]
        most = users + _SPARE if rate is None else 1024
        load = Load(workload, plan.seconds, plan.warm_up, plan.timeout, users, rate, most)
        words = level_words(load)
        self.write(words=f"{words}, {workload.name}, {plan.warm_up + plan.seconds:g} s")

        def report(progress: Progress) -> None:
            self.write(progress={"level": words, **asdict(progress)})

        source = LoadSource(
            load,
            Draws(plan.seed),
            self.nonce(),
            self._encode,
            self.monotonic(),
            report=report,
            interrupted=self.stopped.is_set,
            key=plan.api_key,
        )
        begun = source.begin
        course = Traffic(self._address(), source, most=most, monotonic=self.monotonic).run()
        ended = self.monotonic()
        window = source.window
        if ended < window.end:
            window = Window(min(window.begin, ended), ended)
        figures = figures_of(source.records, window, Goals(plan.ttft_limit, plan.tpot_limit))
        return LevelResult(
            load=users if rate is None else rate,
            words=words,
            users=users if rate is None else None,
            rate=rate,
            figures=figures,
            on_wire=course.most_on_wire,
            in_system=means_of(source.in_system),
            client_delay_p99=percentile(course.delays, 0.99),
            client_cpu_share=course.cpu_seconds / max(1e-9, ended - begun),
            saturated=source.saturated,
            hopeless=source.hopeless,
            short=_short(load, source, course),
            interrupted=source.was_interrupted,
        )

    def _encode(self, request: Request) -> StreamRequest:
        plan = self.plan
        if request.is_page:
            page = page_url(plan.url, _NAME, _MODELS)
            return StreamRequest(http_request(page, plan.api_key), 1, page=True)
        return self._stream(request.prompt, request.max_tokens, request.kind.form, request.said)

    def _stream(
        self, prompt: str, max_tokens: int, form: Form, said: Sequence[tuple[str, str]] = ()
    ) -> StreamRequest:
        plan = self.plan
        probe = ProbeRequest(prompt, max_tokens, plan.timeout, plan.timeout)
        body = chat.body(self._model, probe, form, counting=self._counting, said=said)
        return StreamRequest(http_request(page_url(plan.url, _NAME, form), plan.api_key, body), max_tokens)

    def _first_request(self) -> Request:
        """Return a request of the first kind that has a prompt."""
        workload = WORKLOADS[self.plan.workload]
        kinds = [each for each in workload.kinds if each.content is not Content.MODELS]
        return request_of(User(0), replace(workload, kinds=tuple(kinds[:1])), Draws(1), self.nonce())

    def _warm(self) -> None:
        """Request something of the first kind: it has to work, and tells whether tokens can be counted."""
        request = self._first_request()
        self.write(words="one request to warm it up")
        found = self._one(lambda: self._encode(request))
        if found.fault is Fault.REFUSED:
            self._counting = False
            found = self._one(lambda: self._encode(request))
        if found.timeline is None:
            fault = found.fault or Fault.NO_ANSWER
            remedy = _REMEDIES.get(fault, _REMEDY)
            raise ProbeFailed(self.plan.url, fault, reason=found.reason, remedy=remedy)

    def _settle(self) -> None:
        """Wait until the server has done with what it was sent: engines serve in the order of arrival."""
        self.write(words="waiting for the server to answer again")
        for _ in range(_SETTLING):
            if self.stopped.wait(_SETTLE):
                return
            if self._one(lambda: self._encode(self._first_request())).timeline is not None:
                return
        self._notes.append("after a level that was too much the server did not answer again in time")

    def _one(self, encode: Callable[[], StreamRequest]) -> Streamed:
        found = Streams(self._address(), [encode()]).run(self.plan.timeout).streams[0]
        return replace(found, reason=redacted(found.reason, self.plan.api_key))

    def _depths(self) -> tuple[depths.DepthRow, ...]:
        draws, rows = Draws(self.plan.seed), []
        factor = self._factor(draws)
        for depth in self.plan.depths:
            if self.stopped.is_set():
                break
            self.write(words=f"depth {depth}")
            rows.append(self._at(depth, draws, factor))
        return tuple(rows)

    def _factor(self, draws: Draws) -> float:
        """Return how many tokens the server makes of an estimated one."""
        counts = []
        for tokens in depths.CALIBRATION:
            prompt = depths.filled(draws, self.nonce(), tokens)
            found = self._one(lambda prompt=prompt: self._stream(prompt, 2, Form.CHAT))  # type: ignore[misc]
            counts.append(found.timeline.prompt_tokens if found.timeline else None)
        factor = depths.per_estimated(counts)
        if factor is None:
            self._notes.append("the server does not count prompt tokens: depths are estimates")
        return factor or 1.0

    def _at(self, depth: int, draws: Draws, factor: float) -> depths.DepthRow:
        """Return the speeds at ``depth``; where this process was late, of another try."""
        for tries in itertools.count(1):
            found = self._tried(depth, draws, factor)
            if isinstance(found, depths.DepthRow):
                return found
            if tries >= _TRIES or self.stopped.is_set() or not measure(found).invalid:
                return depths.row_of(depth, found)
        raise AssertionError  # the count never ends

    def _tried(self, depth: int, draws: Draws, factor: float) -> Timeline | depths.DepthRow:
        beginning = depths.filled(draws, self.nonce(), depth / factor)
        prompt = depths.continued(draws, beginning, depth, depths.READ_TOKENS / factor)
        if depth:
            first = self._one(lambda: self._stream(beginning, 1, Form.CHAT))
            if first.timeline is None:
                return depths.DepthRow(depth, reason=f"{first.fault}: {first.reason}")
        found = self._one(lambda: self._stream(prompt, depths.ANSWER_TOKENS, Form.CHAT))
        if found.timeline is None:
            return depths.DepthRow(depth, reason=f"{found.fault}: {found.reason}")
        return found.timeline

    def _address(self) -> tuple[str, int]:
        parts = urlsplit(page_url(self.plan.url, _NAME, _MODELS))
        port = parts.port or 80
        try:
            found = socket.getaddrinfo(parts.hostname or "", port, type=socket.SOCK_STREAM)
        except OSError as error:
            reason = f"its name can't be resolved: {error.strerror or error}"
            raise ProbeFailed(self.plan.url, Fault.UNREACHABLE, reason=reason, remedy=_REMEDY) from None
        return str(found[0][4][0]), port


def _short(load: Load, source: LoadSource, course: Course) -> str:
    """Return why fewer users were on the wire than asked for, empty where all were."""
    if load.rate is not None or source.hopeless or source.was_interrupted:
        return ""
    refused = sum(each.late is None for each in source.records)
    if not load.workload.waits and course.most_on_wire + refused < load.users:
        return f"{load.users} users were asked for, and {course.most_on_wire} were on the wire at once"
    if len(source.served_users) + refused < load.users:
        return f"{load.users} users were asked for, and {len(source.served_users)} sent a request"
    return ""


def _ramped(level: LevelResult) -> Level:
    figures = level.figures
    return Level(
        load=level.load,
        output=figures.output_tokens_per_second or 0.0,
        good=1.0 if figures.good is None else figures.good,
        answered=figures.answered_share,
        ttft_p95=figures.ttft.p95,
        saturated=level.saturated or level.hopeless,
        invalid=level.invalid,
    )
