"""Loop: probes endpoints by schedule and on request, one at a time."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

import anyio

from aiidpd.components.bench.compare.run import A, Comparer
from aiidpd.components.bench.events import BenchPublisher, figures
from aiidpd.components.bench.longer import longer
from aiidpd.components.bench.permission import AGAIN, Allowed, Later, LeftOut, permission
from aiidpd.components.bench.regression.monitor import RegressionMonitor
from aiidpd.components.bench.schedule import (
    Probe,
    Schedule,
    Wait,
    after_probe,
    begin,
    postponed,
    request,
    step,
)
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import DECODE, BenchSample, measure
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.contracts.backoff import BackOffs
from aiidpd.contracts.engines import EnginesView
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
NO_ENDPOINTS = "no endpoint is configured: add bench.endpoints to measure one"


class BenchWorker:
    """Probes ``targets`` by ``settings``, and runs the jobs of ``queue``.

    A job's argument ``endpoint`` names one; without it all are probed. The keys of its result are
    ``ENDPOINT.FIGURE``. There are never two probes at once: they would measure each other. While a back-off
    request of ``back_offs`` is in force only jobs run, and what is due waits. ``running`` has the endpoint
    that is probed right now. By schedule an endpoint is probed only where that wakes no model, by
    ``engines``, which gives the state of each; without it, every one is. A job is a person's will, and goes
    ahead; one that compares two endpoints is carried out by ``comparer``. Good samples go to ``regressions``.
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
        regressions: RegressionMonitor | None = None,
        comparer: Comparer | None = None,
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
        self._nonce = nonce
        self._inbox = back_offs
        self._running = set() if running is None else running
        self._engines = engines
        self._regressions = regressions
        self._comparer = comparer
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
            self._check()
        while True:
            if self._inbox is not None:
                self._back_offs = self._back_offs.after(self._inbox.take())
            effect: Probe | Wait = Wait(_BEAT)
            if not self._back_offs.active(self._clock.monotonic()):
                self._schedule, effect = self._step(self._clock.monotonic())
            if isinstance(effect, Probe):
                with heartbeat.working():
                    await self._probe(effect.name)
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
        if not isinstance(effect, Probe) or self._engines is None:
            return schedule, effect
        view = self._engines()
        waited = now - self._waiting.setdefault(effect.name, now)
        found = permission(view.engine(effect.name) if view else None, view, waited, self._settings)
        match found:
            case Allowed():
                del self._waiting[effect.name]
                return schedule, effect
            case Later():
                return postponed(schedule, effect.name, now, _SOON), Wait(_SOON)
            case LeftOut(reason):
                self._leave_out(effect.name, reason)
                return postponed(schedule, effect.name, now, AGAIN), Wait(0)

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
        names = self._endpoints_of(job)
        result: dict[str, Scalar] = {}
        failed: list[str] = []
        for done, name in enumerate(names):
            heartbeat.beat()
            job.progress(f"probing {name}", done, len(names), "endpoints")
            now = self._clock.monotonic()
            self._schedule = after_probe(self._schedule, name, now, self._settings)
            view = await self._probe(name)
            result[f"{name}.simulated"] = view.simulated
            if view.current is None:
                failed.append(view.error)
                result[f"{name}.error"] = view.error
            else:
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

    async def _probe(self, name: str) -> EndpointView:
        """Probe one endpoint, publish the outcome, and return its new state."""
        target, view = self._targets[name], self._view.endpoint(name)
        if view is None:
            raise LookupError(name)  # the view is made from the targets
        try:
            self._running.add(name)
            sample = await self._measured(target)
        except Unavailable as error:
            fault = error.fault.value if isinstance(error, ProbeFailed) else ""
            view = view.failed(str(error), self._clock.time(), self._clock.monotonic(), fault)
            self._events.failed(view)
        else:
            view = view.measured(sample, self._clock.time(), self._clock.monotonic())
            self._waiting.pop(name, None)
            self._events.measured(view, sample)
            if self._regressions is not None:
                self._regressions.measured(view)
        finally:
            self._running.discard(name)
        self._view = self._view.put(view)
        self._latest.put(self._view)
        return view

    async def _measured(self, target: Target) -> BenchSample:
        """Return the figures of one endpoint; it is asked again for more tokens where that tells its pace."""
        began = self._clock.monotonic()
        tokens = self._settings.max_tokens
        timeline = await target.probe(request(self._settings, self._nonce()))
        for tries in itertools.count(1):
            spent = self._clock.monotonic() - began
            more = longer(timeline, tokens, spent, tries, self._settings)
            if not isinstance(more, int):
                why = more or ""
                break
            again = request(self._settings, self._nonce(), max_tokens=more, spent=spent)
            try:
                timeline = await target.probe(again)
            except Unavailable as error:  # such as that its context is too short for so many
                why = f"with {more} tokens, {error.reason}"
                break
            tokens = more
        return explained(measure(timeline), why)


def explained(sample: BenchSample, why: str) -> BenchSample:
    """Return the sample with ``why`` its pace is not told by more tokens either, where that is so."""
    if not why:
        return sample
    withheld = (
        replace(each, reason=f"{each.reason}; {why}") if each.figure == DECODE else each
        for each in sample.withheld
    )
    return replace(sample, withheld=tuple(withheld))
