"""Upgrades under guard of a daemon: their plans, their jobs, their evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import anyio.to_thread

from aiidpd.components.bench.accept.machine import read_hardware
from aiidpd.components.bench.accept.server import RequestFailedError, describe
from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.guard.conduct import Conductor
from aiidpd.components.bench.guard.decide import Course, Stage
from aiidpd.components.bench.guard.document import ImageRecord, Outcome, Upgrade
from aiidpd.components.bench.guard.measures import Measures
from aiidpd.components.bench.guard.options import Options
from aiidpd.components.bench.guard.room import Room, room_beside
from aiidpd.components.bench.guard.run import GuardRun, GuardViews
from aiidpd.components.bench.guard.sides import EngineSide, find_engine, summary_of
from aiidpd.components.bench.guard.store import UpgradeStore
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.contracts.gpus import GpusView
from aiidpd.contracts.probes import Endpoint
from aiidpd.contracts.trials import ImageFacts, ImageTrialsView, TrialPlan
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import AiidpdError, Conflict, Misconfigured, Unavailable
from aiidpd.kernel.events import Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.jobs import Job, JobQueue
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.physics.hardware import UnknownDevice

_PAGE_WITHIN: Final = 10.0  # seconds
IMAGE: Final = "image"
"""Argument of a job that upgrades a container; the others are those of :class:`Options`."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Plan of an upgrade: that of the containers, the engine, and how it would be tried.

    ``refusal`` is why it can't be tried, empty where it can.
    """

    plan: TrialPlan
    side: EngineSide | None
    room: Room
    beside: bool
    refusal: str = ""
    remedy: str = ""


class Guard:
    """Belongs to the component and outlives the worker that carries out its jobs.

    ``trials``, ``gpus`` and ``endpoints`` give the present views.
    """

    def __init__(
        self,
        store: UpgradeStore,
        *,
        messages: Messages,
        trials: Callable[[], ImageTrialsView | None],
        gpus: Callable[[], GpusView | None],
        endpoints: Callable[[], tuple[Endpoint, ...]],
        views: GuardViews,
        clock: Clock,
        publish: Publisher,
        prober: AloneProber,
    ) -> None:
        self.store = store
        self.control = ComparisonControl()
        self._messages = messages
        self._trials = trials
        self._gpus = gpus
        self._endpoints = endpoints
        self._views = views
        self._clock = clock
        self._publisher = publish
        self._prober = prober
        self._plans = 0
        self._pending: set[str] = set()

    async def planned(self, options: Options) -> Planned:
        """Return the plan of an upgrade; nothing is touched. Raises ``Unavailable``."""
        self._plans += 1
        plan = await self._conductor(f"plan-{self._plans}-{self._clock.monotonic():.3f}", options).plan()
        room = self._room(options)
        beside = room.enough if options.beside is None else options.beside
        refusal, remedy = plan.refusal, plan.remedy
        if plan.same and not refusal:
            refusal = "both names lead to the same image: there is nothing to try"
        if beside and plan.beside_refusal:
            if options.beside:
                refusal, remedy = refusal or plan.beside_refusal, remedy or "do it in its place: --in-place"
            beside, room = False, Room(False, plan.beside_refusal)
        side: EngineSide | None = None
        try:
            side = self._side(options)
        except Misconfigured as error:
            refusal, remedy = refusal or error.reason, remedy or error.remedy
        return Planned(plan, side, room, beside, refusal, remedy)

    def submit(self, queue: JobQueue, options: Options, by: str) -> Job:
        """Queue an upgrade; raises ``Conflict`` where one of the same container waits or goes on."""
        if options.container in self._pending:
            raise Conflict(
                "upgrade",
                options.container,
                reason="another upgrade of it goes on",
                remedy="wait for that, or end it: `aiidpctl bench upgrades --cancel`",
            )
        job = queue.submit(**options.arguments(), requested_by=by)
        self._pending.add(options.container)
        return job

    async def run(self, job: Job, settings: BenchSettings, heartbeat: Heartbeat) -> None:
        """Carry out ``job``: it succeeds where the new image was kept."""
        try:
            await self._run(job, settings, heartbeat)
        finally:
            self._pending.discard(str(job.arguments.get("container")))

    async def _run(self, job: Job, settings: BenchSettings, heartbeat: Heartbeat) -> None:
        options = Options.of(job.arguments)
        began = self._clock.time()
        identity = await anyio.to_thread.run_sync(self.store.new_id, began)
        job.progress("planning")
        try:
            planned = await self.planned(options)
        except AiidpdError as error:
            planned = Planned(
                TrialPlan(ImageFacts(""), ImageFacts(options.image[:200])),
                None,
                Room(False, ""),
                False,
                error.reason,
                error.remedy,
            )
        upgrade = self._document(
            identity, began, options, planned, str(job.arguments.get("requested_by") or "")
        )
        if planned.refusal or planned.side is None:
            remedy = f"; {planned.remedy}" if planned.remedy else ""
            self._end(job, self._ended(upgrade, "not tried", f"{planned.refusal}{remedy}"))
            return
        self.store.running = identity
        try:
            await self._store(upgrade, first=True)
            side = await _with_model(planned.side)
            measures = Measures(
                side,
                options,
                settings,
                job,
                self.control,
                self._clock,
                self._prober,
                heartbeat,
                seed=int(began) if options.seed is None else options.seed,
            )
            run = GuardRun(
                upgrade,
                options,
                side,
                self._conductor(identity, options),
                self._views,
                job,
                self.control,
                self._clock,
                heartbeat,
                self._store,
                measures,
                course=Course(beside=planned.beside, rounds=0 if planned.beside else options.swap_back),
            )
            done = await run.run()
            upgrade = self._judged(done, run)
            await self._store(upgrade)
        except AiidpdError as error:
            upgrade = self._ended(upgrade, "not tried", str(error))
        finally:
            self.store.running = ""
        self._end(job, upgrade)

    def _judged(self, upgrade: Upgrade, run: GuardRun) -> Upgrade:
        """Return the document with its outcome."""
        first = upgrade.findings[0] if upgrade.findings else None
        words = (
            ""
            if first is None
            else f"{first.criterion}: {first.text}" + (f"; {first.remedy}" if first.remedy else "")
        )
        if run.course.stage is Stage.KEPT:
            return self._ended(upgrade, "kept", "every criterion was met")
        state = run.conductor.state
        if not state.new.id and not state.stopped_seconds:
            return self._ended(upgrade, "not tried", words or "it could not be begun")
        if state.ended != "returned" or (state.serving != "old" and state.ended):
            back = state.problem or f"the trial has ended as {state.ended or 'not ended yet'}"
            words = f"{words}; going back: {back}"
        return self._ended(upgrade, "returned", words or "it went back")

    def _ended(self, upgrade: Upgrade, outcome: Outcome, reason: str) -> Upgrade:
        return replace(upgrade, outcome=outcome, reason=reason[:1000], ended_at=self._clock.time())

    def _end(self, job: Job, upgrade: Upgrade) -> None:
        kept = upgrade.outcome == "kept"
        self._publisher.event(
            "bench.upgrade_guarded",
            f"{upgrade.new_image.reference} was {upgrade.outcome}: {upgrade.reason}",
            about=upgrade.container,
            severity=Severity.INFO if kept else Severity.WARNING,
            upgrade=upgrade.id,
            outcome=upgrade.outcome,
            mode=upgrade.mode,
            old_image_id=upgrade.old_image.id,
            new_image_id=upgrade.new_image.id,
        )
        result = {"upgrade": upgrade.id, "outcome": upgrade.outcome}
        if kept:
            job.succeed(**result)
        else:
            job.fail(f"{upgrade.outcome}: {upgrade.reason}", **result)

    async def _store(self, upgrade: Upgrade, *, first: bool = False) -> None:
        """Write the evidence; where the first can't be written nothing is begun, later it goes on without."""
        try:
            await anyio.to_thread.run_sync(self.store.save, upgrade)
        except OSError as error:
            reason = error.strerror or str(error)
            if first:
                raise Conflict(
                    "store",
                    "the evidence of the upgrade",
                    reason=reason,
                    remedy="free space or repair the disk",
                ) from error
            self._publisher.event(
                "bench.upgrade_not_stored",
                f"the evidence of the upgrade can't be written: {reason}",
                about=upgrade.container,
                severity=Severity.WARNING,
                upgrade=upgrade.id,
            )

    def _conductor(self, trial: str, options: Options) -> Conductor:
        return Conductor(
            self._messages,
            self._trials,
            self._clock,
            trial=trial,
            container=options.container,
            image=options.image,
        )

    def _side(self, options: Options) -> EngineSide:
        return find_engine(
            options.container,
            options.endpoint,
            containers=self._views.containers(),
            engines=self._views.engines(),
            endpoints=self._endpoints(),
        )

    def _room(self, options: Options) -> Room:
        summary = summary_of(options.container, self._views.containers())
        if options.beside is not None:
            return Room(options.beside, "as it was requested")
        hardware = read_hardware()

        def memory(name: str) -> float | None:
            try:
                return hardware.find(name).memory
            except UnknownDevice:
                return None

        return room_beside("" if summary is None else summary.id, self._gpus(), memory)

    def _document(self, identity: str, began: float, options: Options, planned: Planned, by: str) -> Upgrade:
        plan = planned.plan
        return Upgrade(
            version=1,
            id=identity,
            container=options.container,
            began_at=began,
            old_image=image_record(plan.old_image),
            new_image=image_record(plan.new_image),
            mode="beside" if planned.beside else "in place",
            mode_reason=planned.room.reason,
            stage=Stage.BEGIN.value,
            outcome="running",
            requested_by=by,
            pairs=options.pairs,
            slower=options.slower,
            agree=options.agree,
            endpoint=planned.side.name if planned.side else "",
            model=planned.side.model if planned.side else "",
            notes=plan.notes,
        )


async def _with_model(side: EngineSide) -> EngineSide:
    """Return ``side`` with the model that its server lists, where none is known."""
    if side.model:
        return side
    try:
        found = await anyio.to_thread.run_sync(describe, side.url, "", side.api_key or "", _PAGE_WITHIN)
    except RequestFailedError as error:
        reason = str(error)
        raise Unavailable("read", f"the models of {side.name}", reason=reason) from error
    return replace(side, model=found.model)


def image_record(image: ImageFacts) -> ImageRecord:
    """Return the record of an image."""
    return ImageRecord(image.reference, image.id, image.digests)
