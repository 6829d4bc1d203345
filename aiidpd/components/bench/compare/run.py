"""Jobs that compare two endpoints: each ends as a document on the disk, an event, and the job's result."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Final

import anyio.to_thread

from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.compare.agreement import judge
from aiidpd.components.bench.compare.course import Course
from aiidpd.components.bench.compare.plan import PAIRS
from aiidpd.components.bench.compare.requests import ComparisonControl, Requests
from aiidpd.components.bench.compare.result import Comparison, Side, judged
from aiidpd.components.bench.compare.store import ComparisonStore
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.target import Target
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat

BUDGET_MINUTES: Final = 30.0
A, B = "compare_a", "compare_b"
"""Arguments of a job that names two endpoints; it may have ``pairs``, ``minutes`` and ``seed``."""


class Comparer:
    """Runs comparisons, and stores what came of them; it belongs to the component and outlives the worker.

    ``nonce`` begins prompts that no cache may know.
    """

    def __init__(
        self,
        store: ComparisonStore,
        control: ComparisonControl,
        *,
        clock: Clock,
        publish: Publisher,
        prober: AloneProber,
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._store = store
        self._control = control
        self._clock = clock
        self._publisher = publish
        self._prober = prober
        self._nonce = nonce

    async def run(
        self, job: Job, targets: Mapping[str, Target], settings: BenchSettings, heartbeat: Heartbeat
    ) -> None:
        """Carry out ``job``; raises :class:`NotFound` and :class:`Unavailable`."""
        sides = _side(job, targets, A), _side(job, targets, B)
        given = job.arguments.get("seed")
        began = self._clock.time()
        identity = await anyio.to_thread.run_sync(self._store.new_id, began)
        requests = Requests(
            sides,
            budget=60 * float(job.arguments.get("minutes") or BUDGET_MINUTES),
            clock=self._clock,
            prober=self._prober,
            control=self._control,
            heartbeat=heartbeat,
            wake=settings.wake,
        )
        course = Course(
            job,
            requests,
            sides,
            settings,
            self._nonce,
            most=int(job.arguments.get("pairs") or PAIRS),
            seed=secrets.randbits(31) if given is None else int(given),
            tokens=settings.max_tokens,
            own_nonces=sides[0].url == sides[1].url,
        )
        with self._control.runs():
            ended, reason = await course.run()
        comparison = Comparison(
            version=1,
            id=identity,
            kind="endpoints",
            began_at=began,
            ended_at=self._clock.time(),
            a=Side(sides[0].name, sides[0].model, sides[0].url),
            b=Side(sides[1].name, sides[1].model, sides[1].url),
            simulated=any(each.simulated for each in sides),
            seed=course.seed,
            most_pairs=course.most,
            max_tokens=course.tokens,
            ended=ended,
            reason=reason,
            figures=judged(course.pairs, course.most),
            answers=judge(course.answers),
            pairs=tuple(course.pairs),
            notes=tuple(requests.notes),
        )
        await self._save(comparison)
        self._publish(comparison)
        result: dict[str, Scalar] = {
            "comparison": comparison.id,
            "pairs": len(comparison.pairs),
            "ended": comparison.ended,
        }
        if comparison.ended in ("absent", "failed", "cancelled"):
            job.fail(comparison.reason, **result, **_outcomes(comparison))
        else:
            job.succeed(**result, **_outcomes(comparison))

    async def _save(self, comparison: Comparison) -> None:
        try:
            await anyio.to_thread.run_sync(self._store.save, comparison)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unavailable("store", f"comparison {comparison.id}", reason=reason) from error

    def _publish(self, comparison: Comparison) -> None:
        words = "; ".join(f"{each.label}: {each.text}" for each in comparison.figures)
        self._publisher.marked(simulated=comparison.simulated).event(
            "bench.compared",
            f"A is {comparison.a.name}, B is {comparison.b.name}: {words}",
            about=comparison.b.name,
            severity=Severity.INFO,
            comparison=comparison.id,
            against=comparison.a.name,
            pairs=len(comparison.pairs),
            ended=comparison.ended,
            **_outcomes(comparison),
        )


def _outcomes(comparison: Comparison) -> dict[str, Scalar]:
    return {f"{each.figure}.outcome": each.outcome for each in comparison.figures}


def _side(job: Job, targets: Mapping[str, Target], key: str) -> Target:
    name = str(job.arguments[key])
    if name not in targets:
        known = ", ".join(targets) or "none: add bench.endpoints"
        raise NotFound("compare", name, reason="no endpoint has this name", remedy=f"known are: {known}")
    return targets[name]
