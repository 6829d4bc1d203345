"""Plan of a load: users one after another's answer (closed loop), or arrivals by a rate (open loop).

Times come as arguments; what is sent follows from the seed alone, and when from the seed and the answers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiidpd.components.bench.load import saturation
from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.figures import Window
from aiidpd.components.bench.load.records import Record, failed, record_of
from aiidpd.components.bench.load.users import Request, User, after, request_of, wait_of
from aiidpd.components.bench.load.workloads import Workload
from aiidpd.engines.faults import Fault
from aiidpd.engines.stream import StreamRequest, redacted
from aiidpd.engines.traffic import Planned, Served

_MOMENTS: Final = 240  # at which the requests in the system are counted, within the window
_REPORT: Final = 0.5  # seconds between two reports of the progress
_AFTER_FAILURE: Final = (
    0.5  # seconds that a user waits at least after a failure: a refused one comes back at once
)
_HOPELESS: Final = 20  # requests that fail before one was answered, after which the rest would too
_TEST: Final = 1.0  # seconds between two tests for over-saturation

Encode = Callable[[Request], StreamRequest]


@dataclass(frozen=True, slots=True)
class Load:
    """One load: ``users`` at once, or ``rate`` requests a second where that is not None.

    The first ``warm_up`` seconds are not measured; ``most`` requests may be in the system at once.
    """

    workload: Workload
    seconds: float
    warm_up: float
    timeout: float
    users: int = 1
    rate: float | None = None
    most: int = 1024
    until_saturated: bool = True
    """End where the queue grows without bound."""


@dataclass(slots=True)
class Progress:
    """Progress of a load, for people."""

    elapsed: float
    seconds: float
    in_system: int
    answered: int
    failed: int


@dataclass(slots=True)
class _Underway:
    user: User
    request: Request


@dataclass(slots=True)
class LoadSource:
    """Source of the requests of ``load``, which begins at ``begin`` (monotonic seconds)."""

    load: Load
    draws: Draws
    nonce: str
    encode: Encode
    begin: float
    report: Callable[[Progress], None] = lambda _progress: None
    interrupted: Callable[[], bool] = lambda: False
    key: str = field(default="", repr=False)
    """API key, which no reason shows."""
    records: list[Record] = field(default_factory=list)
    in_system: list[float] = field(default_factory=list)
    saturated: str = ""
    hopeless: str = ""
    was_interrupted: bool = False
    served_users: set[int] = field(default_factory=set)
    """Users of which a request was sent."""
    _ready: list[tuple[float, int]] = field(default_factory=list)
    _users: dict[int, User] = field(default_factory=dict)
    _idle: list[int] = field(default_factory=list)
    _underway: dict[int, _Underway] = field(default_factory=dict)
    _keys: int = 0
    _arrivals: int = 0
    _next_arrival: float = 0.0
    _next_moment: float = 0.0
    _next_report: float = 0.0
    _next_test: float = 0.0
    _answered: int = 0
    _failed: int = 0

    def __post_init__(self) -> None:
        """Plan the first requests."""
        load = self.load
        self._next_moment, self._next_test = self.window.begin, self.window.begin + _TEST
        if load.rate is not None:
            self._next_arrival = self.begin + self._between()
            return
        # Users begin one after another, as they would come, but all well before the end.
        begin_within = min(load.warm_up / 2, 0.002 * load.users)
        if load.workload.waits:
            begin_within = min(load.workload.wait[1], max(load.warm_up, load.seconds / 4))
        apart = begin_within / load.users
        for number in range(load.users):
            self._users[number] = User(number)
            heapq.heappush(self._ready, (self.begin + number * apart, number))

    @property
    def window(self) -> Window:
        """Return the period that is measured; it ends with the load where that ended early."""
        begin = self.begin + self.load.warm_up
        return Window(begin, begin + self.load.seconds)

    def due(self, now: float) -> Planned | None:
        """Return the next request whose time is no later than ``now``."""
        if self._stops():
            return None
        if self.load.rate is not None:
            return self._arrived(now)
        if not self._ready or self._ready[0][0] > now or self._ready[0][0] >= self.window.end:
            return None
        at, number = heapq.heappop(self._ready)
        return self._planned(at, self._users[number])

    def served(self, outcome: Served) -> None:
        """Take note of an outcome, and plan what follows."""
        underway = self._underway.pop(outcome.key)
        workload, request = self.load.workload, underway.request
        record = _record(outcome, request, self.key, growing=workload.turns is not None)
        self.records.append(record)
        if outcome.late is not None:
            self.served_users.add(underway.user.number)
        if record.cut:
            return
        self._answered += record.answered
        self._failed += not record.answered
        if not self._answered and self._failed >= max(_HOPELESS, self.load.users):
            self.hopeless = f"every request fails ({record.fault}): {record.reason}"
        timeline = outcome.streamed.timeline
        wait = wait_of(underway.user, workload, self.draws)
        user = after(
            underway.user, workload, self.draws, request, None if timeline is None else timeline.text
        )
        self._users[user.number] = user
        if self.load.rate is not None:
            heapq.heappush(self._idle, user.number)
            return
        ended = timeline.ended if timeline is not None else outcome.at
        if not record.answered:
            wait = max(wait, _AFTER_FAILURE)
        heapq.heappush(self._ready, (ended + wait, user.number))

    def over(self, now: float) -> bool:
        """Return whether nothing is planned any more."""
        return now >= self.window.end or self._stops()

    def stopped(self, now: float) -> bool:
        """Return whether the load ends at once; counts, tests and reports meanwhile."""
        self._watch(now)
        # What is in the system at the end of an open loop that was too much would take for ever.
        return self._stops() or (bool(self.saturated) and now >= self.window.end)

    def _stops(self) -> bool:
        return (
            bool(self.hopeless) or self.was_interrupted or bool(self.saturated and self.load.until_saturated)
        )

    def _watch(self, now: float) -> None:
        if self.interrupted():
            self.was_interrupted = True
        window = self.window
        while self._next_moment <= now and self._next_moment < window.end:
            self.in_system.append(len(self._underway))
            self._next_moment += window.seconds / _MOMENTS
        if now >= self._next_report:
            self._next_report = now + _REPORT
            self.report(
                Progress(
                    now - self.begin,
                    self.load.warm_up + self.load.seconds,
                    len(self._underway),
                    self._answered,
                    self._failed,
                )
            )
        if now >= self._next_test and self.load.rate is not None and not self.saturated:
            self._next_test = now + _TEST
            self._test()

    def _test(self) -> None:
        if len(self._underway) >= self.load.most:
            self.saturated = f"{self.load.most} requests were in the system at once, as many as may be"
            return
        sent = sorted((each.planned, each.waited) for each in self.records if each.waited is not None)
        first = [waited for planned, waited in sent if planned >= self.window.begin]
        seconds = self.load.seconds
        arrivals = seconds * (self.load.rate or 0.0)
        self.saturated = saturation.reason(self.in_system, first, arrivals=arrivals, seconds=seconds)

    def _arrived(self, now: float) -> Planned | None:
        if self._next_arrival > now or self._next_arrival >= self.window.end:
            return None
        at = self._next_arrival
        self._arrivals += 1
        self._next_arrival = at + self._between()
        if self._idle:
            return self._planned(at, self._users[heapq.heappop(self._idle)])
        return self._planned(at, User(len(self._users)))

    def _between(self) -> float:
        return self.draws.exponential(1 / (self.load.rate or 1.0), "arrival", self._arrivals)

    def _planned(self, at: float, user: User) -> Planned:
        self._users[user.number] = user
        request = request_of(user, self.load.workload, self.draws, self.nonce)
        self._keys += 1
        self._underway[self._keys] = _Underway(user, request)
        return Planned(at, self._keys, self.encode(request), self.load.timeout)


def _record(outcome: Served, request: Request, key: str, *, growing: bool) -> Record:
    timeline, kind = outcome.streamed.timeline, request.kind.name
    if timeline is None and outcome.cut:
        return Record(kind, outcome.planned, outcome.at, late=outcome.late, cut=True)
    if timeline is None:
        fault = outcome.streamed.fault or Fault.NO_ANSWER
        reason = redacted(outcome.streamed.reason, key)
        return failed(kind, outcome.planned, outcome.at, fault, reason, late=outcome.late)
    return record_of(
        kind,
        outcome.planned,
        outcome.at,
        timeline,
        late=outcome.late,
        growing=growing,
        page=request.is_page,
        cut=outcome.cut,
    )


def level_words(load: Load) -> str:
    """Return the level in words, as ``8 users`` or ``2.5 requests/s``."""
    if load.rate is not None:
        return f"{load.rate:g} requests/s"
    return f"{load.users} user{'' if load.users == 1 else 's'}"


def means_of(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return sum(values) / len(values) if values else None
