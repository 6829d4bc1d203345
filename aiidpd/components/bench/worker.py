"""Loop: probes endpoints by schedule and on request, one at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

import anyio

from aiidpd.components.bench.alone.prober import AloneProber, Busy
from aiidpd.components.bench.budget import Budget, charged
from aiidpd.components.bench.circumstances.recording import Recording
from aiidpd.components.bench.claims import ClaimWatch
from aiidpd.components.bench.compare.run import A, Comparer
from aiidpd.components.bench.drops import Dropped
from aiidpd.components.bench.events import BenchPublisher, figures
from aiidpd.components.bench.guard.guard import IMAGE, Guard
from aiidpd.components.bench.measurer import Measurer
from aiidpd.components.bench.permission import (
    AGAIN,
    BUSY_AGAIN,
    Allowed,
    Later,
    LeftOut,
    busy,
    permission,
)
from aiidpd.components.bench.regression.monitor import RegressionMonitor
from aiidpd.components.bench.schedule import (
    Probe,
    Schedule,
    Wait,
    after_probe,
    begin,
    postponed,
    step,
)
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.contracts.backoff import BackOffs
from aiidpd.contracts.engines import EngineReads, EnginesView
from aiidpd.contracts.messages import BackOffMessage
from aiidpd.engines.faults import ProbeFailed
from aiidpd.engines.target import Target
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Misconfigured, NotFound, Unavailable
from aiidpd.kernel.events import Scalar
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.jobs import Job, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat

_BEAT = 5.0  # seconds between signs of life while nothing is due
_SOON = 0.5  # seconds between two questions to an engine's state that is not known yet
_SHORTLY = 60.0  # seconds after which a measurement that did not count is repeated
_WAITS = 60.0  # seconds for which a measurement by hand waits until nobody else is served
_TRIES = 3  # of a measurement by hand
NO_ENDPOINTS = "no endpoint is configured: add bench.endpoints to measure one"


class BenchWorker:
    """Probes ``targets`` by ``settings``, and runs the jobs of ``queue``.

    A job's argument ``endpoint`` names one; without it all are probed. The keys of its result are
    ``ENDPOINT.FIGURE``. There are never two probes at once: they would measure each other. While a back-off
    request of ``back_offs`` is in force only jobs run, and what is due waits. ``running`` has the endpoint
    that is probed right now. By schedule an endpoint is probed only where that disturbs nobody and wakes no
    model, by ``engines``, which gives the state of each, and takes no more than its share of the GPUs' time;
    without ``engines``, every one is. ``reads`` reads an engine at once. A job is a person's will, and goes
    ahead as soon as nobody else is served; one that compares two endpoints is carried out by ``comparer``,
    an upgrade by ``guard``.
    ``recording`` begins the recording of circumstances. Good samples go to ``regressions`` and ``claims``.
    The targets belong to the worker: it closes them when it ends.
    Raises :class:`Misconfigured` where two targets share a name.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        settings: BenchSettings,
        *,
        queue: JobQueue,
        latest: Latest[BenchView],
        publish: Publisher,
        clock: Clock,
        back_offs: Inbox[BackOffMessage] | None = None,
        running: set[str] | None = None,
        engines: Callable[[], EnginesView | None] | None = None,
        reads: Callable[[], EngineReads | None] = lambda: None,
        recording: Callable[[Target], Recording] | None = None,
        regressions: RegressionMonitor | None = None,
        claims: ClaimWatch | None = None,
        comparer: Comparer | None = None,
        guard: Guard | None = None,
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._targets = {target.name: target for target in targets}
        if len(self._targets) != len(targets):
            raise Misconfigured(
                "use", "bench.endpoints", reason="two of them share a name", remedy="rename one"
            )
        self._settings = settings
        self._queue = queue
        self._latest = latest
        self._clock = clock
        self._inbox = back_offs
        self._engines = engines
        prober = AloneProber(
            clock=clock,
            engines=engines or (lambda: None),
            reads=reads,
            running=set() if running is None else running,
        )
        self._measurer = Measurer(prober, settings, clock=clock, nonce=nonce, recording=recording)
        self._budget = Budget()
        self._claims = claims
        self._regressions = regressions
        self._comparer = comparer
        self._guard = guard
        self._waiting: dict[str, float] = {}  # since when it is not known whether one may be probed
        self._events = BenchPublisher(publish)
        self._view = BenchView()
        self._schedule = Schedule()
        self._back_offs = BackOffs()

    @property
    def simulated(self) -> bool:
        """True where any endpoint is made up."""
        return any(target.simulated for target in self._targets.values())

    async def run(self, heartbeat: Heartbeat) -> None:
        """Probe until cancelled."""
        try:
            await self._work(heartbeat)
        finally:
            for target in self._targets.values():
                await target.aclose()

    async def _work(self, heartbeat: Heartbeat) -> None:
        with heartbeat.working():
            self._start()
            if self._regressions is not None:
                await self._regressions.begin(self._view.endpoints)
            if self._claims is not None:
                self._claims.begin(self._view.endpoints)
            self._check()
        while True:
            if self._inbox is not None:
                self._back_offs = self._back_offs.after(self._inbox.take())
            effect: Probe | Wait = Wait(_BEAT)
            # A job comes first: where probes take longer than their interval, one is always due.
            if not (self._queue.waiting or self._back_offs.active(self._clock.monotonic())):
                self._schedule, effect = self._step(self._clock.monotonic())
            if isinstance(effect, Probe):
                with heartbeat.working():
                    await self._by_schedule(effect.name, heartbeat)
                    self._check()
                continue
            job = await self._next_job(min(effect.seconds, _BEAT))
            heartbeat.beat()
            if job is not None:
                with heartbeat.working():
                    with job.running():
                        await self._serve(job, heartbeat)
                    self._check()

    def _step(self, now: float) -> tuple[Schedule, Probe | Wait]:
        """Return what to do now; the probe of an endpoint that may not be probed is left out or postponed."""
        schedule, effect = step(self._schedule, now, self._settings)
        if not isinstance(effect, Probe):
            return schedule, effect
        found = self._permission(effect.name, now)
        match found:
            case Allowed():
                self._waiting.pop(effect.name, None)
                return schedule, effect
            case Later():
                return postponed(schedule, effect.name, now, _SOON), Wait(_SOON)
            case LeftOut(reason, seconds):
                self._leave_out(effect.name, reason)
                return postponed(schedule, effect.name, now, seconds), Wait(0)

    def _permission(self, name: str, now: float) -> Allowed | Later | LeftOut:
        target = self._targets[name]
        if self._engines is not None:
            view = self._engines()
            waited = now - self._waiting.setdefault(name, now)
            found = permission(view.engine(name) if view else None, view, waited, self._settings)
            if not isinstance(found, Allowed):
                return found
        wait = 0.0 if target.simulated else self._budget.ready_at(self._measurer.places(target)) - now
        if wait <= 0:
            return Allowed()
        share = f"{100 * self._settings.gpu_time_ratio:g} %"
        reason = f"measurements may take {share} of its GPU's time, which the last ones have taken in advance"
        return LeftOut(reason, min(wait, AGAIN))

    def _leave_out(self, name: str, reason: str) -> None:
        endpoint = self._view.endpoint(name)
        if endpoint is not None and endpoint.left_out != reason:
            self._view = self._view.put(replace(endpoint, left_out=reason))
        self._latest.put(self._view)

    def _start(self) -> None:
        """Take over what the worker before this one knew of the same endpoints."""
        reading = self._latest.get()
        known = reading.value if reading else BenchView()
        fresh = (
            EndpointView(each.name, each.url, each.model, each.simulated) for each in self._targets.values()
        )
        endpoints = known.still_true(fresh)
        self._view = BenchView(endpoints, "" if endpoints else NO_ENDPOINTS)
        self._latest.put(self._view)
        probed = {each.name: each.probed for each in endpoints if each.probed is not None}
        self._schedule = begin(self._targets, probed, self._clock.monotonic(), self._settings)

    def _check(self) -> None:
        """Raise :class:`Unavailable` where no endpoint at all can be measured."""
        reasons = self._view.all_failed()
        if reasons:
            raise Unavailable("measure", "any endpoint", reason=reasons)

    async def _next_job(self, seconds: float) -> Job | None:
        """Return the next job, or None where none comes within ``seconds``."""
        job: Job | None = None
        async with anyio.create_task_group() as group:

            async def take() -> None:
                nonlocal job
                job = await self._queue.next()
                group.cancel_scope.cancel()

            group.start_soon(take)
            await self._clock.sleep(seconds)
            group.cancel_scope.cancel()
        return job

    async def _serve(self, job: Job, heartbeat: Heartbeat) -> None:
        if self._comparer is not None and A in job.arguments:
            await self._comparer.run(job, self._targets, self._settings, heartbeat)
            return
        if self._guard is not None and IMAGE in job.arguments:
            await self._guard.run(job, self._settings, heartbeat)
            return
        names = self._endpoints_of(job)
        result: dict[str, Scalar] = {}
        failed: list[str] = []
        for done, name in enumerate(names):
            heartbeat.beat()
            job.progress(f"probing {name}", done, len(names), "endpoints")
            now = self._clock.monotonic()
            self._schedule = after_probe(self._schedule, name, now, self._settings)
            view = await self._by_hand(name, job, heartbeat)
            result[f"{name}.simulated"] = view.simulated
            if error := view.left_out or view.dropped or view.error:
                failed.append(error)
                result[f"{name}.error"] = error
            elif view.current is not None:
                result |= {f"{name}.{figure}": value for figure, value in figures(view.current).items()}
        job.progress("done", len(names), len(names), "endpoints")
        if failed:
            job.fail(f"{len(failed)} of {len(names)} endpoints failed: {'; '.join(failed)}", **result)
        else:
            job.succeed(**result)

    def _endpoints_of(self, job: Job) -> list[str]:
        if not self._targets:
            raise Misconfigured(
                "run", "the benchmark", reason="no endpoint is configured", remedy="add bench.endpoints"
            )
        name = job.arguments.get("endpoint")
        if name is None:
            return list(self._targets)
        if name not in self._targets:
            known = ", ".join(self._targets)
            raise NotFound(
                "benchmark", str(name), reason="no endpoint has this name", remedy=f"known are: {known}"
            )
        return [str(name)]

    async def _by_schedule(self, name: str, heartbeat: Heartbeat) -> None:
        """Probe one endpoint in its turn, at the expense of the share of its GPUs' time."""
        target, began = self._targets[name], self._clock.monotonic()
        try:
            view = await self._probe(name, heartbeat)
        except Busy as error:
            refused = busy(str(error))
            self._leave_out(name, refused.reason)
            self._schedule = postponed(self._schedule, name, self._clock.monotonic(), BUSY_AGAIN)
            return
        finally:
            if not target.simulated:
                self._budget = charged(
                    self._budget,
                    self._measurer.places(target),
                    began,
                    self._measurer.spent,
                    self._settings.gpu_time_ratio,
                )
        if view.dropped:
            self._schedule = postponed(self._schedule, name, self._clock.monotonic(), _SHORTLY)

    async def _by_hand(self, name: str, job: Job, heartbeat: Heartbeat) -> EndpointView:
        """Probe one endpoint as soon as nobody else is served, a few times where somebody comes."""
        until = self._clock.monotonic() + _WAITS
        tries = 0
        while True:
            heartbeat.beat()
            try:
                view = await self._probe(name, heartbeat)
            except Busy as error:
                if self._clock.monotonic() >= until:
                    reason = f"{error}, for {_WAITS:.0f} s: measure it once it is idle"
                    self._leave_out(name, reason)
                    return replace(self._known(name), left_out=reason)
                job.progress(f"{name}: {error}; waiting until it is idle")
                await self._clock.sleep(1.0)
                continue
            tries += 1
            if not view.dropped or tries >= _TRIES or self._clock.monotonic() >= until:
                return view

    def _known(self, name: str) -> EndpointView:
        view = self._view.endpoint(name)
        if view is None:
            raise LookupError(name)  # the view is made from the targets
        return view

    async def _probe(self, name: str, heartbeat: Heartbeat) -> EndpointView:
        """Probe one endpoint, publish the outcome, and return its new state; raises :class:`Busy`."""
        target, view = self._targets[name], self._known(name)
        try:
            sample = await self._measurer.measure(target, heartbeat.beat)
        except Dropped as drop:
            view = view.dropped_for(drop.label, str(drop), self._clock.time(), self._clock.monotonic())
            self._events.dropped(view)
        except Unavailable as error:
            fault = error.fault.value if isinstance(error, ProbeFailed) else ""
            view = view.failed(str(error), self._clock.time(), self._clock.monotonic(), fault)
            self._events.failed(view)
        else:
            since = self._clock.monotonic() - self._measurer.ended
            view = view.measured(sample, self._clock.time() - since, self._measurer.ended)
            self._waiting.pop(name, None)
            self._events.measured(view, sample)
            if self._regressions is not None:
                self._regressions.measured(view)
            if self._claims is not None:
                self._claims.measured(view)
        self._view = self._view.put(view)
        self._latest.put(self._view)
        return view
