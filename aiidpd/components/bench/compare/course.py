"""Course of one comparison: questions, which warm both sides up, then pairs until the answer is clear."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from aiidpd.components.bench.alone.prober import Disturbed
from aiidpd.components.bench.compare.agreement import Answer, Answers, answer_of
from aiidpd.components.bench.compare.plan import QUESTIONS, TRIES, Pair, answer_seed, pairs
from aiidpd.components.bench.compare.requests import Ended, Requests, Stopped
from aiidpd.components.bench.compare.result import PairFigures, judged, paired
from aiidpd.components.bench.enough import enough_tokens
from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import TTFT, BenchSample, measure
from aiidpd.engines.target import ProbeRequest, Target, Timeline
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.jobs import Job

_MOST_FAILED: Final = 3  # pairs in a row


@dataclass
class Course:
    """Comparison of ``sides`` by at most ``most`` pairs, and its data so far.

    ``nonce`` begins a prompt that no cache may know. ``own_nonces`` is true where one prefix cache serves
    both sides, so that the prompts of a pair differ in their nonce.
    """

    job: Job
    requests: Requests
    sides: tuple[Target, Target]
    settings: BenchSettings
    nonce: Callable[[], str]
    most: int
    seed: int
    tokens: int
    own_nonces: bool
    pairs: list[PairFigures] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    _failed: int = 0

    async def run(self) -> tuple[Ended, str]:
        """Measure until there is a reason to end, and return it."""
        names = " and ".join(dict.fromkeys(each.name for each in self.sides))
        try:
            for done, question in enumerate(QUESTIONS):
                self.job.progress(f"comparing answers of {names}", done, len(QUESTIONS), "questions")
                self.answers.append(await self._answer(question))
            for target in self.sides:
                self.tokens = await self._enough_tokens(target)
            for pair in pairs(self.seed):
                self.job.progress(f"comparing {names}", len(self.pairs), self.most, "pairs")
                await self._measure(pair)
                if self._clear():
                    return "clear", "each figure has a clear answer"
                if len(self.pairs) >= self.most:
                    break
        except Stopped as end:
            return end.ended, str(end)
        return "pairs", f"{self.most} pairs were measured"

    async def _answer(self, question: str) -> Answers:
        """Have both sides answer ``question``, in turn.

        A token of it first, so that each answer begins with the prompt in the prefix cache: an engine reads a
        new prompt in other steps than one that is there, which can turn the choice between two tokens.
        """
        given = self.settings
        asked = ProbeRequest(
            question, given.max_tokens, given.first_token_timeout, given.timeout, answer_seed(self.seed)
        )
        answers: tuple[list[Answer], list[Answer]] = [], []
        for target in self.sides:
            with suppress(Unavailable):  # such as that the one token has no text
                await self._undisturbed(target, replace(asked, max_tokens=1))
        try:
            for _ in range(TRIES):
                for target, found in zip(self.sides, answers, strict=True):
                    found.append(answer_of(await self._undisturbed(target, asked)))
        except Unavailable as error:
            return Answers(question, reason=str(error))
        return Answers(question, tuple(answers[0]), tuple(answers[1]))

    async def _enough_tokens(self, target: Target) -> int:
        """Return how many tokens tell the pace of ``target``, the present number at least."""

        async def probe(tokens: int) -> Timeline:
            return await self._undisturbed(target, request(self.settings, self.nonce(), max_tokens=tokens))

        try:
            return await enough_tokens(probe, self.tokens, self.settings)
        except Unavailable:  # the pairs say so too
            return self.tokens

    async def _undisturbed(self, target: Target, asked: ProbeRequest) -> Timeline:
        while True:
            try:
                return await self.requests.send(target, asked)
            except Disturbed:
                continue

    async def _measure(self, pair: Pair) -> None:
        """Measure one pair; one that fails or is disturbed is none."""
        nonce = self.nonce()
        nonces = (nonce, self.nonce() if self.own_nonces else nonce)
        order = (0, 1) if pair.a_first else (1, 0)
        found: dict[int, BenchSample] = {}
        try:
            for place in order:
                asked = request(self.settings, nonces[place], max_tokens=self.tokens)
                found[place] = measure(await self.requests.send(self.sides[place], asked))
        except Disturbed:
            return
        except Unavailable as error:
            self._failed += 1
            if self._failed >= _MOST_FAILED:
                raise Stopped("failed", f"{self._failed} pairs in a row failed: {error}") from error
            return
        self._failed = 0
        if _cached(found[order[1]]) and not self.own_nonces:
            self.own_nonces = True  # the next have prompts of their own
            self.requests.notes["both have one prefix cache, so that their prompts differ in the nonce"] = (
                None
            )
            return
        self.pairs.append(paired(len(self.pairs), found[0], found[1], a_first=pair.a_first))

    def _clear(self) -> bool:
        """Return whether every figure that can be measured has a clear answer."""
        known = [each for each in judged(self.pairs, self.most) if each.count]
        return bool(known) and all(each.outcome != "open" for each in known)


def _cached(sample: BenchSample) -> bool:
    return any(each.figure == TTFT and "prefix cache" in each.reason for each in sample.withheld)
