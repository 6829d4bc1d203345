"""Measurements of one side after the other: figures, and answers to the questions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from aiidpd.components.bench.alone.prober import Disturbed
from aiidpd.components.bench.compare.agreement import Answer, Answers, answer_of
from aiidpd.components.bench.compare.plan import QUESTIONS, TRIES, answer_seed
from aiidpd.components.bench.compare.requests import Requests, Stopped
from aiidpd.components.bench.compare.result import Times
from aiidpd.components.bench.enough import enough_tokens
from aiidpd.components.bench.guard.conduct import Failed
from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import measure
from aiidpd.engines.target import ProbeRequest, Target, Timeline
from aiidpd.kernel.errors import Unavailable

_WARM_UP = 2
_MOST_FAILED = 3  # in a row
_MOST_TIMES = 5  # requests for each measurement


@dataclass
class Series:
    """Measurements through ``requests``, with prompts that begin with a ``nonce``."""

    requests: Requests
    settings: BenchSettings
    nonce: Callable[[], str]
    seed: int
    tokens: int = 0
    answers: dict[str, list[tuple[Answer, ...] | str]] = field(default_factory=dict)

    async def measure(self, target: Target, count: int, progress: Callable[[int], None]) -> list[Times]:
        """Return ``count`` measurements; raises :class:`Failed`.

        One in which this process itself was late says nothing, and is measured again. Where that happens all
        the time there are fewer.
        """
        if not self.tokens:
            self.tokens = await self._enough_tokens(target)
        found: list[Times] = []
        failed = 0
        for place in range(_WARM_UP + _MOST_TIMES * count):
            asked = request(self.settings, self.nonce(), max_tokens=self.tokens)
            try:
                sample = measure(await self._send(target, asked))
            except Unavailable as error:
                failed += 1
                if failed >= _MOST_FAILED:
                    raise Failed(f"{failed} requests in a row failed: {error.reason}") from error
                continue
            failed = 0
            if place >= _WARM_UP and not sample.invalid:
                whole = sample.total_seconds if sample.output_tokens == self.tokens else None
                found.append(Times(sample.ttft_seconds, sample.time_per_output_token_seconds, whole))
                progress(len(found))
            if len(found) >= count:
                break
        return found

    async def ask(self, side: str, target: Target) -> None:
        """Have the side answer the questions; a token of each first, so that the prompt is in its cache."""
        given, found = self.settings, self.answers.setdefault(side, [])
        for question in QUESTIONS:
            asked = ProbeRequest(
                question, given.max_tokens, given.first_token_timeout, given.timeout, answer_seed(self.seed)
            )
            with suppress(Unavailable):  # such as that the one token has no text
                await self._send(target, replace(asked, max_tokens=1))
            try:
                tries = [answer_of(await self._send(target, asked)) for _ in range(TRIES)]
            except Unavailable as error:
                found.append(error.reason)
            else:
                found.append(tuple(tries))

    def of_both(self) -> list[Answers]:
        """Return the questions with the answers of both sides."""
        old, new = self.answers.get("old", []), self.answers.get("new", [])
        return [_both(*each) for each in zip(QUESTIONS, old, new, strict=False)]

    async def _enough_tokens(self, target: Target) -> int:
        """Return how many tokens tell the pace of ``target``."""

        async def probe(tokens: int) -> Timeline:
            return await self._send(target, request(self.settings, self.nonce(), max_tokens=tokens))

        try:
            return await enough_tokens(probe, self.settings.max_tokens, self.settings)
        except Unavailable:  # the measurements say so too
            return self.settings.max_tokens

    async def _send(self, target: Target, asked: ProbeRequest) -> Timeline:
        while True:
            try:
                return await self.requests.send(target, asked)
            except Disturbed:
                continue
            except Stopped as end:
                raise Failed(str(end), clear=False) from end


def _both(question: str, old: tuple[Answer, ...] | str, new: tuple[Answer, ...] | str) -> Answers:
    if isinstance(old, str):
        return Answers(question, reason=f"A: {old}")
    if isinstance(new, str):
        return Answers(question, reason=f"B: {new}")
    return Answers(question, old, new)
