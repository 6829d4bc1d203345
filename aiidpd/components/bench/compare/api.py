"""Comparisons over the API."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Protocol

import anyio.to_thread

from aiidpd.api.access import Access
from aiidpd.api.document import Request, bounded
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.bench.compare.agreement import Agreement
from aiidpd.components.bench.compare.periods import SERIES, compared
from aiidpd.components.bench.compare.plan import MOST_PAIRS, PAIRS
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.compare.result import Comparison, Side
from aiidpd.components.bench.compare.run import BUDGET_MINUTES, A, B
from aiidpd.components.bench.compare.sequential import FEWEST
from aiidpd.components.bench.compare.store import ComparisonStore
from aiidpd.history.rows import Point
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.jobs import JobQueue

_LONGEST = 366 * 86_400.0  # seconds of a period
_MOST = 50_000  # measurements of a period


@dataclass(frozen=True, slots=True)
class CompareRequest(Request):
    """Two endpoints to compare."""

    a: Annotated[str, bounded(max_length=200)]
    b: Annotated[str, bounded(max_length=200)]
    pairs: Annotated[int, bounded(ge=FEWEST, le=MOST_PAIRS)] = PAIRS
    """Most pairs that are measured; fewer where the answer is clear before."""
    minutes: Annotated[float, bounded(gt=0, le=1440)] = BUDGET_MINUTES
    """Longest that it may take."""
    seed: Annotated[int | None, bounded(ge=0, le=2**31 - 1)] = None
    """Seed of the order; without it, a new one."""


@dataclass(frozen=True, slots=True)
class CancelRequest(Request):
    """Cancellation of the comparison that runs; there is never more than one."""


@dataclass(frozen=True, slots=True)
class PeriodsQuery(Request):
    """Two periods of one endpoint, each from ``since`` to before ``until``, in Unix seconds."""

    endpoint: Annotated[str, bounded(max_length=200)]
    a_since: Annotated[float, bounded(ge=0, le=1e11)]
    a_until: Annotated[float, bounded(ge=0, le=1e11)]
    b_since: Annotated[float, bounded(ge=0, le=1e11)]
    b_until: Annotated[float, bounded(ge=0, le=1e11)]


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """One comparison of the list."""

    id: str
    began_at: float
    a: str
    b: str
    pairs: int
    ended: str
    text: str
    """Words about each figure."""
    simulated: bool


@dataclass(frozen=True, slots=True)
class ComparisonsDocument:
    """Comparisons of endpoints, the newest last."""

    comparisons: tuple[ComparisonSummary, ...]
    problems: tuple[str, ...]
    """Reasons why others can't be read."""


@dataclass(frozen=True, slots=True)
class CancelledDocument:
    """Cancellation of the comparison that runs."""

    cancelled: bool


class SampleHistory(Protocol):
    """A source of samples; raises :class:`~aiidpd.kernel.errors.Unavailable`."""

    async def samples(
        self, series: str, subject: str | None = None, *, since: float, until: float, limit: int
    ) -> list[Point]:
        """Return the newest ``limit`` points of ``series`` in [since, until), newest last."""


def routes(
    store: ComparisonStore, control: ComparisonControl, queue: JobQueue, history: SampleHistory, clock: Clock
) -> tuple[Route, ...]:
    """Return the routes of comparisons."""

    async def compare(call: Call) -> Answer:
        given: CompareRequest = call.body
        arguments = {A: given.a, B: given.b}
        more = {"pairs": given.pairs, "minutes": given.minutes, "seed": given.seed}
        return job_document(queue.submit(**arguments, **more, requested_by=call.by).status)

    async def comparisons(_call: Call) -> Answer:
        found, problems = await anyio.to_thread.run_sync(store.all)
        return ComparisonsDocument(tuple(map(_summary, found)), tuple(problems))

    async def comparison(call: Call) -> Answer:
        return await anyio.to_thread.run_sync(store.load, call.path["id"])

    async def cancel(_call: Call) -> Answer:
        if not control.cancel():
            raise NotFound("cancel", "the comparison", reason="none runs")
        return CancelledDocument(cancelled=True)

    async def periods(call: Call) -> Answer:
        return await _periods(call.query, history, clock)

    change, read, accepted = Access.CHANGE, Access.READ, HTTPStatus.ACCEPTED
    path = "/v1/bench/comparisons"
    about = "Compare two endpoints by interleaved pairs, until the answer is clear."
    return (
        Route("POST", path, change, compare, about, JobDocument, body=CompareRequest, status=accepted),
        Route(
            "GET", path, read, comparisons, "The comparisons of endpoints there were.", ComparisonsDocument
        ),
        Route("GET", f"{path}/{{id}}", read, comparison, "One comparison, with every pair.", Comparison),
        Route(
            "POST",
            f"{path}/cancel",
            change,
            cancel,
            "Cancel the comparison that runs.",
            CancelledDocument,
            body=CancelRequest,
        ),
        Route(
            "GET",
            "/v1/bench/periods",
            read,
            periods,
            "Two periods of one endpoint, compared by the history of its measurements.",
            Comparison,
            query=PeriodsQuery,
        ),
    )


async def _periods(query: PeriodsQuery, history: SampleHistory, clock: Clock) -> Comparison:
    sides = []
    for name, since, until in (("A", query.a_since, query.a_until), ("B", query.b_since, query.b_until)):
        if not 0 < until - since <= _LONGEST:
            reason = "it must end after it begins, and within a year"
            raise Invalid("compare", f"period {name}", reason=reason, remedy="name another")
        sides.append(Side(query.endpoint, since=since, until=until))
    found, simulated = [], False
    for series in SERIES:
        points = [
            await history.samples(
                series, query.endpoint, since=side.since or 0, until=side.until or 0, limit=_MOST
            )
            for side in sides
        ]
        simulated |= any(point.simulated for side in points for point in side)
        values = [[point.mean for point in side] for side in points]
        found.append(compared(series, values[0], values[1]))
    return Comparison(
        version=1,
        id="",
        kind="periods",
        began_at=clock.time(),
        ended_at=clock.time(),
        a=sides[0],
        b=sides[1],
        simulated=simulated,
        seed=0,
        most_pairs=0,
        max_tokens=0,
        ended="read",
        reason="the history was read",
        figures=tuple(found),
        answers=Agreement(text="answers are not in the history"),
        notes=("what else changed between the two periods is not known here: see aiidpctl events",),
    )


def _summary(comparison: Comparison) -> ComparisonSummary:
    words = "; ".join(f"{each.label}: {each.text}" for each in comparison.figures)
    return ComparisonSummary(
        comparison.id,
        comparison.began_at,
        comparison.a.name,
        comparison.b.name,
        len(comparison.pairs),
        comparison.ended,
        words,
        comparison.simulated,
    )
