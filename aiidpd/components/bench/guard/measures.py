"""Measurements of an upgrade: of one side after the other, or of both by pairs; answers to the questions."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.compare.agreement import Agreement
from aiidpd.components.bench.compare.agreement import judge as judge_answers
from aiidpd.components.bench.compare.course import Course as PairedCourse
from aiidpd.components.bench.compare.requests import ComparisonControl, Requests
from aiidpd.components.bench.compare.result import FigureResult, PairFigures, Times, judged
from aiidpd.components.bench.guard.options import Options
from aiidpd.components.bench.guard.series import Series
from aiidpd.components.bench.guard.sides import EngineSide
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.openai import OpenAITarget
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.task import Heartbeat


@dataclass(frozen=True, slots=True)
class Paired:
    """Comparison of both sides; ``problem`` is why it has ended early, empty where it has not."""

    pairs: tuple[PairFigures, ...]
    figures: tuple[FigureResult, ...]
    answers: Agreement
    notes: tuple[str, ...]
    problem: str


@dataclass
class Measures:
    """Measures the engine ``side``, and whatever has its place, by ``options``.

    ``prober`` sends each request where nobody else is served; ``seed`` is that of the requests.
    """

    side: EngineSide
    options: Options
    settings: BenchSettings
    job: Job
    control: ComparisonControl
    clock: Clock
    prober: AloneProber
    heartbeat: Heartbeat
    seed: int
    nonce: Callable[[], str] = lambda: secrets.token_hex(8)
    _targets: list[OpenAITarget] = field(default_factory=list)
    _series: Series | None = None

    def target(self, url: str, name: str = "") -> OpenAITarget:
        """Return the target at ``url``, by the name under which the engine is polled."""
        wanted = name or self.side.name
        for each in self._targets:
            if each.name == wanted and each.url == url:
                return each
        made = OpenAITarget(wanted, url, self.side.model, api_key=self.side.api_key)
        self._targets.append(made)
        return made

    async def measure(self, which: str, target: OpenAITarget) -> list[Times]:
        """Return the measurements of one side; the first time it answers the questions too.

        Raises :class:`~aiidpd.components.bench.guard.conduct.Failed`.
        """
        if self._series is None:
            self._series = Series(self._requests(target, target), self.settings, self.nonce, self.seed)

        def progress(done: int) -> None:
            self.job.progress(f"measuring the {which} one", done, self.options.pairs, "measurements")

        if which not in self._series.answers:
            self.job.progress(f"asking the {which} one")
            await self._series.ask(which, target)
        return await self._series.measure(target, self.options.pairs, progress)

    def answers(self) -> Agreement:
        """Return how far the answers of both sides agree."""
        return judge_answers(self._series.of_both()) if self._series is not None else Agreement()

    def notes(self) -> tuple[str, ...]:
        """Return what is to be known of the measurements."""
        return tuple(self._series.requests.notes) if self._series is not None else ()

    async def compare(self, old: OpenAITarget, new: OpenAITarget) -> Paired:
        """Return the comparison of both, which run at once, by pairs."""
        requests = self._requests(old, new)
        course = PairedCourse(
            self.job,
            requests,
            (old, new),
            self.settings,
            self.nonce,
            most=self.options.pairs,
            seed=self.seed,
            tokens=self.settings.max_tokens,
            own_nonces=False,
        )
        ended, reason = await course.run()
        return Paired(
            tuple(course.pairs),
            judged(course.pairs, course.most),
            judge_answers(course.answers),
            tuple(requests.notes),
            "" if ended in ("clear", "pairs") else reason,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        for target in self._targets:
            await target.aclose()

    def _requests(self, first: OpenAITarget, second: OpenAITarget) -> Requests:
        return Requests(
            (first, second),
            budget=60 * self.options.minutes,
            clock=self.clock,
            prober=self.prober,
            control=self.control,
            heartbeat=self.heartbeat,
            wake=self.settings.wake,
        )
