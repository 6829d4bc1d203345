"""History of one GPU over the API, as rows: every reading of the last hour, a row a minute before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import anyio.lowlevel

from aiidpd.api.access import Access
from aiidpd.api.document import Heartbeat, Request, bounded
from aiidpd.api.route import Answer, Call, Route, Stream
from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.figures import ROLLED_UP
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.rollup import KIND, reasons
from aiidpd.history.rows import Point
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest

_BREATH: Final = 200  # rows between two moments in which the loop may do something else
_DAYS: Final = 8 * 86_400  # seconds: as far back as an export reaches unless it is said
WINDOW: Final = 6 * 3600.0  # seconds read at once: what bounds the memory of an export, however long it is
_HOLDS = 61.0  # seconds for which a coded series' value holds: it is sampled once a minute at least
_MOST = 40_000  # samples of one series in a window: ten a second, and some
_PAGE = 500


@dataclass(frozen=True, slots=True)
class GpuHistoryQuery(Request):
    """Choice of a GPU and of the part of its history."""

    gpu: Annotated[str | None, bounded(max_length=100)] = None
    """Index, UUID or its beginning; needed where there are several GPUs."""
    since: Annotated[float | None, bounded(ge=0, le=1e11)] = None
    """From this time on, in Unix seconds."""
    until: Annotated[float | None, bounded(ge=0, le=1e11)] = None
    """Before this time, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class GpuHistoryRow:
    """One GPU at a time, or over the ``seconds`` from then on with the mean of each figure."""

    time: float
    seconds: float
    temperature_celsius: float | None = None
    power_watts: float | None = None
    utilisation_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    fan_ratio: float | None = None
    throttle_reason: str | None = None
    """Joined by |; empty: nothing did; null: not known."""


class SampleHistory(Protocol):
    """A source of samples and events; both methods raise :class:`~aiidpd.kernel.errors.Unavailable`."""

    async def samples(
        self, series: str, subject: str | None = None, *, since: float, until: float, limit: int
    ) -> list[Point]:
        """Return the newest ``limit`` points of ``series`` in [since, until), newest last."""

    async def events(
        self, *, after_id: int, limit: int, since: float | None, kinds: str, subject: str | None
    ) -> list[Event]:
        """Return the first ``limit`` events after ``after_id``."""


async def rows(history: SampleHistory, uuid: str, since: float, until: float) -> AsyncIterator[GpuHistoryRow]:
    """Yield what the history has of GPU ``uuid`` in [since, until), the oldest first."""
    minutes = _Minutes(history, uuid, since)
    start = since
    while start < until:
        end = min(start + WINDOW, until)
        for row in await _window(history, uuid, start, end, minutes):
            yield row
        start = end


async def _window(
    history: SampleHistory, uuid: str, since: float, until: float, minutes: _Minutes
) -> list[GpuHistoryRow]:
    found: dict[tuple[float, float], dict[str, float]] = {}
    for series in ROLLED_UP:
        for point in await history.samples(series, uuid, since=since, until=until, limit=_MOST):
            found.setdefault((point.time, point.seconds), {})[series] = point.mean
    if not found:
        return []
    bits = _Held(await _coded(history, "clock_event_bits", uuid, since, until))
    totals = _Held(await _coded(history, "memory_total_bytes", uuid, since, until))
    reported = await minutes.until(until)
    made = []
    for (time, seconds), figures in sorted(found.items()):
        total = totals.at(time, within=max(seconds, _HOLDS))
        if seconds:
            reason = reported.get(int(time // 60))
        else:
            standing = bits.at(time, within=_HOLDS)
            reason = None if standing is None else reasons(int(standing))
        made.append(GpuHistoryRow(time, seconds, memory_total_bytes=total, throttle_reason=reason, **figures))
    return made


async def _coded(history: SampleHistory, series: str, uuid: str, since: float, until: float) -> list[Point]:
    return await history.samples(series, uuid, since=since - _HOLDS, until=until, limit=_MOST)


class _Held:
    """A series whose value holds until its next sample. Asked in the order of time."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = points
        self._next = 0

    def at(self, time: float, within: float) -> float | None:
        """Return the value at ``time``, None where the last sample is longer ago than ``within``."""
        while self._next < len(self._points) and self._points[self._next].time <= time:
            self._next += 1
        if not self._next:
            return None
        last = self._points[self._next - 1]
        return last.mean if time - last.time <= within else None


class _Minutes:
    """Reasons for throttling in each minute, from the events of the rollup."""

    def __init__(self, history: SampleHistory, uuid: str, since: float) -> None:
        self._history = history
        self._uuid = uuid
        self._since = since - 60
        self._after = 0
        self._known: dict[int, str] = {}
        self._reached = -1.0

    async def until(self, time: float) -> dict[int, str]:
        """Return the reasons by minute since the last call's time, as far as to ``time``."""
        self._known = {
            minute: reason for minute, reason in self._known.items() if minute * 60 >= time - 2 * WINDOW
        }
        while self._reached < time:
            page = await self._history.events(
                after_id=max(self._after, 1),
                limit=_PAGE,
                since=self._since,
                kinds=KIND,
                subject=self._uuid,
            )
            for event in page:
                self._after, self._reached = event.id, event.time
                reason = event.evidence.get("throttle_reason")
                if isinstance(reason, str):
                    self._known[int(event.time // 60)] = reason
            if len(page) < _PAGE:
                break
        return self._known


class HistoryExport:
    """History of a GPU that is named by index, UUID or its beginning."""

    def __init__(
        self, history: SampleHistory, latest: Latest[GpuSnapshot], energy: EnergyMeter, clock: Clock
    ) -> None:
        self._history = history
        self._latest = latest
        self._energy = energy
        self._clock = clock

    @property
    def routes(self) -> tuple[Route, ...]:
        """Route of the history."""
        return (
            Route(
                "GET",
                "/v1/gpus/history",
                Access.READ,
                self._get,
                "The history of one GPU, a line each: every reading of the last hour, a line a minute "
                "before.",
                GpuHistoryRow,
                query=GpuHistoryQuery,
                lines=(GpuHistoryRow, Heartbeat),
            ),
        )

    async def _get(self, call: Call) -> Answer:
        query: GpuHistoryQuery = call.query
        found = aiter(self.rows(query.gpu, query.since, query.until))
        # The first row now: what is wrong with the request is an answer of its own, not a stream that breaks.
        first = await anext(found, None)

        async def lines() -> Stream:
            if first is None:
                return
            yield first
            count = 0
            async for row in found:
                yield row
                count += 1
                if count % _BREATH == 0:
                    await anyio.lowlevel.checkpoint()

        return lines()

    async def rows(
        self, gpu: str | None, since: float | None, until: float | None
    ) -> AsyncIterator[GpuHistoryRow]:
        """Yield the rows of one GPU in [since, until) (Unix seconds; without them all there is).

        ``gpu`` may be left out where there is only one. Raises :class:`NotFound`, :class:`Invalid` or
        :class:`~aiidpd.kernel.errors.Unavailable`.
        """
        now = self._clock.time()
        uuid = self._find(gpu)
        begin = now - _DAYS if since is None else since
        # Whole minutes: a row that stands for a minute is not cut in two.
        async for row in rows(self._history, uuid, begin // 60 * 60, now + 1 if until is None else until):
            yield row

    def _find(self, gpu: str | None) -> str:
        reading = self._latest.get()
        present = {each.uuid: each.index for each in reading.value.gpus} if reading else {}
        known = {each.uuid: each.index for each in self._energy.view().gpus} | present
        if gpu is None:
            if len(known) == 1:
                return next(iter(known))
            if known:
                names = ", ".join(f"{index} ({uuid})" for uuid, index in sorted(known.items()))
                raise Invalid(
                    "export",
                    "GPUs",
                    reason=f"there are {len(known)}: {names}",
                    remedy="name one: gpu=N, or aiidpctl gpu export --gpu N",
                )
        else:
            # An index can name another card after a change: the one that is there now goes first.
            for held in (present, known):
                for uuid, index in held.items():
                    if gpu == str(index) or (not gpu.isdigit() and uuid.startswith(gpu)):
                        return uuid
        asked = "a GPU" if gpu is None else f"GPU {gpu}"
        if not known:
            raise NotFound("export", asked, reason="no GPU was ever read")
        have = ", ".join(str(index) for index in sorted(known.values()))
        raise NotFound("export", asked, reason=f"no such GPU was ever read (known: {have})")
