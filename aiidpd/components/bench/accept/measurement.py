"""Measurement of all figures of one profile, in a process that does nothing else.

First some requests that are not counted, then requests one at a time, then questions, then many at once. A
request that fails is counted, and the rest goes on.
"""

from __future__ import annotations

import itertools
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import anyio

from aiidpd.components.bench.accept.criteria import Profile
from aiidpd.components.bench.accept.figures import (
    Failure,
    Outcome,
    Round,
    alone,
    error_rate,
    memory_failures,
    together,
)
from aiidpd.components.bench.accept.requests import answer_text, is_right, question_body, stream_request
from aiidpd.components.bench.accept.server import Described, RequestFailedError, describe, exchange
from aiidpd.components.bench.accept.verdict import Measured
from aiidpd.components.bench.enough import enough_tokens
from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import TTFT, BenchSample, measure, percentile
from aiidpd.engines.chat import Form
from aiidpd.engines.faults import Fault, ProbeFailed
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.stream import Streamed, StreamRequest, redacted
from aiidpd.engines.streams import Run, Streams
from aiidpd.engines.target import ProbeRequest, Timeline
from aiidpd.engines.urls import completions_url
from aiidpd.kernel.errors import Unavailable

_LONG: Final = 604_800.0  # seconds of an interval: nobody waits for the next measurement
_SPARE: Final = 1.5  # times as many requests as are wanted, at most: some figures are withheld
_HOPELESS: Final = 3  # requests in a row that fail, after which the rest would too
_NAME: Final = "of acceptance"
_REMEDIES: Final = {Fault.UNAUTHORIZED: "give the server's key by --api-key-file"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Server, and profile by which it is measured. ``model`` may be empty."""

    url: str
    profile: Profile
    model: str = ""
    api_key: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures by name, and circumstances. ``prompt_tokens`` is the median of those that were computed."""

    figures: dict[str, Measured]
    described: Described
    prompt_tokens: float | None
    answer_tokens: int
    requests: int
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    failures: list[Failure] = field(default_factory=list)

    def failed(self, fault: str, reason: str) -> Failure:
        failure = Failure(fault, reason)
        self.failures.append(failure)
        return failure


class Measuring:
    """Measures by ``plan``; ``progress`` is called with each phase and words for people."""

    def __init__(
        self,
        plan: Plan,
        progress: Callable[[str, str], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._monotonic = monotonic
        self._nonce = nonce
        self._tally = _Tally()
        asked = plan.profile.requests
        self._settings = BenchSettings().model_copy(
            update={"interval": _LONG, "timeout": asked.timeout, "first_token_timeout": asked.timeout}
        )
        self._tokens = asked.answer_tokens

    def run(self) -> Measurement:
        """Measure everything. Blocks; raises :class:`Misconfigured` and :class:`Unavailable`."""
        plan = self._plan
        completions_url(plan.url, _NAME)  # raises for what is no URL
        try:
            described = describe(plan.url, plan.model, plan.api_key, plan.profile.requests.timeout)
        except RequestFailedError as error:
            remedy = _REMEDIES.get(error.fault, "see that the server runs and that the URL is its")
            raise ProbeFailed(plan.url, error.fault, reason=str(error), remedy=remedy) from None
        samples, failures = anyio.run(self._alone, described.model)
        figures = alone(samples, failures)
        figures["exact_answers"] = self._answers(described.model)
        rounds, notes = self._together(described.model)
        figures |= together(rounds)
        figures["error_rate"] = error_rate(self._tally.requests, self._tally.failures)
        found = memory_failures(self._tally.failures)
        if found:
            figures["out_of_memory"] = Measured(
                found, "the server's own answers say so", self._tally.requests
            )
        computed = sorted(
            each.prompt_tokens - (each.cached_tokens or 0) for each in samples if each.prompt_tokens
        )
        return Measurement(
            figures, described, percentile(computed, 0.5), self._tokens, self._tally.requests, notes
        )

    async def _alone(self, model: str) -> tuple[list[BenchSample], list[Failure]]:
        asked = self._plan.profile.requests
        target = OpenAITarget(
            _NAME, self._plan.url, model, api_key=self._plan.api_key or None, form=Form.CHAT
        )
        samples: list[BenchSample] = []
        failures: list[Failure] = []
        try:
            self._progress("warm_up", f"{asked.warm_up} requests to warm it up")
            for _ in range(asked.warm_up):
                await self._one(target)
            await self._enough_tokens(target)
            self._progress("alone", f"{asked.count} requests one at a time")
            good = 0
            for tried in itertools.count():
                if good >= asked.count or tried >= asked.count * _SPARE:
                    break
                found = await self._one(target)
                if isinstance(found, Failure):
                    failures.append(found)
                    if len(failures) == tried + 1 == _HOPELESS:
                        break
                    continue
                samples.append(measure(found))
                good += samples[-1].ttft_seconds is not None
        finally:
            await target.aclose()
        return samples, failures

    async def _enough_tokens(self, target: OpenAITarget) -> None:
        """Request more tokens where an answer is too short for its pace."""

        async def probe(tokens: int) -> Timeline:
            found = await target.probe(self._probe(tokens))
            self._tally.requests += 1  # where it fails, one for more than the profile wants counts as none
            return found

        try:
            self._tokens = await enough_tokens(probe, self._tokens, self._settings)
        except Unavailable as error:
            self._tally.requests += 1
            self._tally.failed(*_words(error))

    async def _one(self, target: OpenAITarget) -> Timeline | Failure:
        self._tally.requests += 1
        try:
            return await target.probe(self._probe(self._tokens))
        except Unavailable as error:
            return self._tally.failed(*_words(error))

    def _probe(self, tokens: int) -> ProbeRequest:
        prompt = self._plan.profile.requests.prompt_tokens
        return request(self._settings, self._nonce(), prompt, max_tokens=tokens)

    def _answers(self, model: str) -> Measured:
        questions = self._plan.profile.questions
        if not questions:
            return Measured(reason="the profile has no [[answers]]")
        self._progress("answers", f"{len(questions)} questions with a known answer")
        right, wrong = 0, ""
        for question in questions:
            self._tally.requests += 1
            try:
                body = question_body(model, question)
                timeout = self._plan.profile.requests.timeout
                document = exchange(self._plan.url, Form.CHAT, self._plan.api_key, timeout, body)
                text = answer_text(document)
            except RequestFailedError as error:
                self._tally.failed(error.fault.value, str(error))
                wrong = wrong or str(error)
            except ValueError as error:
                self._tally.failed(Fault.MALFORMED.value, str(error))
                wrong = wrong or str(error)
            else:
                if is_right(question, text):
                    right += 1
                else:
                    wrong = wrong or f"to {question.prompt[:60]!r} it answers {text.strip()[:60]!r}"
        return Measured(right / len(questions), wrong, len(questions))

    def _together(self, model: str) -> tuple[list[Round], tuple[str, ...]]:
        """Run as many requests at once as the profile says, once or for as long as it says."""
        plan, profile = self._plan, self._plan.profile
        streams, seconds = profile.concurrency.streams, profile.load_seconds
        page = completions_url(plan.url, _NAME)
        parts = urlsplit(page)
        if parts.scheme != "http":
            return [
                _none("streams at once are measured over plain HTTP alone: name the server behind TLS")
            ], ()
        try:
            address = _address(parts.hostname or "", parts.port or 80)
        except OSError as error:
            return [_none(f"its name can't be resolved: {error.strerror or error}")], ()
        for_long = f" for {seconds:g} s" if seconds else ""
        self._progress("load", f"{streams} requests at once{for_long}")
        rounds: list[Round] = []
        begun = self._monotonic()
        while not rounds or self._monotonic() - begun < seconds:
            probes = [self._probe(profile.concurrency.answer_tokens) for _ in range(streams)]
            wanted = [
                StreamRequest(stream_request(page, model, each, plan.api_key), each.max_tokens)
                for each in probes
            ]
            run = Streams(address, wanted).run(profile.requests.timeout)
            rounds.append(self._round(run))
            if all(each.failure for each in rounds[-1].outcomes):
                break  # it would only fail faster
        self._progress("loaded", "")
        took = self._monotonic() - begun
        notes = (f"load ended after {took:.0f} s: no request was answered",) if took < seconds else ()
        return rounds, notes

    def _round(self, run: Run) -> Round:
        self._tally.requests += len(run.streams)
        outcomes = tuple(self._outcome(each) for each in run.streams)
        failed = sum(each.failure is not None for each in outcomes)
        # One that was refused was not on the wire for long: that is its failure, and not ours.
        short = run.short if run.on_wire + failed < len(run.streams) else ""
        if short:
            short += ": answers ended before all requests were sent; raise concurrency.answer"
        return Round(outcomes, short)

    def _outcome(self, stream: Streamed) -> Outcome:
        timeline = stream.timeline
        if timeline is None:
            fault = stream.fault.value if stream.fault else Fault.NO_ANSWER.value
            return Outcome(failure=self._tally.failed(fault, redacted(stream.reason, self._plan.api_key)))
        sample = measure(timeline)
        late = any(each.figure == TTFT for each in sample.withheld)
        return Outcome(
            timeline.started,
            timeline.ended,
            None if late else sample.ttft_seconds,
            timeline.output_tokens,
        )


def _words(error: Unavailable) -> tuple[str, str]:
    """Return the fault and the reason of a request that failed."""
    fault = error.fault if isinstance(error, ProbeFailed) else Fault.NO_ANSWER
    return fault.value, error.reason


def _none(reason: str) -> Round:
    return Round((), reason)


def _address(host: str, port: int) -> tuple[str, int]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return str(found[0][4][0]), port
