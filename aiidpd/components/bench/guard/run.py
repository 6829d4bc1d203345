"""One upgrade under guard: follows :mod:`.decide` stage by stage, and stores what was found on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import anyio
import anyio.to_thread

from aiidpd.components.bench.alone.decide import others, unknown
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.guard.acceptance import accepted
from aiidpd.components.bench.guard.conduct import Conductor, Failed
from aiidpd.components.bench.guard.decide import Course, Stage
from aiidpd.components.bench.guard.document import Finding, Measurement, Upgrade
from aiidpd.components.bench.guard.measures import Measures
from aiidpd.components.bench.guard.options import Options
from aiidpd.components.bench.guard.sides import EngineSide, summary_of, url_of
from aiidpd.components.bench.guard.verdict import figures_of, judge
from aiidpd.components.bench.guard.well import unwell
from aiidpd.contracts.containers import ContainersView, ContainerUses
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.trials import TriedContainer, Wish
from aiidpd.engines.target import ProbeRequest
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import AiidpdError, Unavailable
from aiidpd.kernel.jobs import Job
from aiidpd.kernel.task import Heartbeat

POLL: Final = 0.25
_BEAT: Final = 5.0
_PULL_WITHIN: Final = 2 * 86_400.0  # seconds: the containers' own bound is shorter
_SWAP_WITHIN: Final = 1200.0
_IDLE_READINGS: Final = 2
_READY_PROBE: Final = 15.0  # seconds that one token may take, before it is asked for again
_CAUSE_WITHIN: Final = 2.0  # seconds in which the end of a container is seen
_BACK_WITHIN: Final = 5.0  # seconds that a cancelled upgrade waits for the old one


@dataclass(frozen=True, slots=True)
class GuardViews:
    """Readings of others: engines, containers, their use of the machine."""

    engines: Callable[[], EnginesView | None]
    containers: Callable[[], ContainersView | None]
    uses: Callable[[], ContainerUses | None]


@dataclass
class GuardRun:
    """Upgrade that goes on. ``upgrade`` is the document so far, which ``store`` is given after each stage."""

    upgrade: Upgrade
    options: Options
    side: EngineSide
    conductor: Conductor
    views: GuardViews
    job: Job
    control: ComparisonControl
    clock: Clock
    heartbeat: Heartbeat
    store: Callable[[Upgrade], Awaitable[None]]
    measures: Measures
    course: Course = field(default_factory=Course)
    url: str = ""
    _round: int = 0

    async def run(self) -> Upgrade:
        """Go through the stages, and return the document of what came of it."""
        self.url = self.side.url
        try:
            with self.control.runs():
                async with anyio.create_task_group() as group:
                    group.start_soon(self.conductor.repeat)
                    group.start_soon(self._beat)
                    while not self.course.stage.final:
                        await self._stage()
                    group.cancel_scope.cancel()
        except BaseException:
            # Cancelled, or an error of ours: a wish that is not repeated would lead to the same, later.
            with anyio.CancelScope(shield=True), anyio.move_on_after(_BACK_WITHIN):
                self.conductor.wish(Wish.BACK)
                await self.conductor.back()
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self.measures.aclose()
        return self.upgrade

    async def _stage(self) -> None:
        """Go through one stage, and on to the next."""
        stage = self.course.stage
        self.job.progress(stage.value)
        self.conductor.wish(self.course.wish)
        found: Failed | None = None
        try:
            await self._watched(self._works()[stage])
        except Failed as error:
            found = error
        except AiidpdError as error:
            found = Failed(error.reason, remedy=error.remedy)
        if found is not None and self.course.wish in (Wish.NEW, Wish.BESIDE):
            found = await self._cause(found)
        if found is not None and stage not in (Stage.JUDGE, Stage.RETURN, Stage.KEEP):
            finding = Finding(stage.value, found.reason[:600], found.clear, found.remedy)
            self._put(findings=(*self.upgrade.findings, finding))
        self.course = self.course.after(well=found is None)
        self._take_over()
        self._put(stage=self.course.stage.value)
        await self.store(self.upgrade)

    async def _watched(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work of a stage; it ends as soon as the trial goes back by itself, or is cancelled."""
        if self.course.stage in (Stage.BEGIN, Stage.KEEP, Stage.RETURN):
            await work()
            return
        ended: Exception | None = None
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                nonlocal ended
                while ended is None:
                    try:
                        self._check()
                    except Failed as error:
                        ended = error
                        group.cancel_scope.cancel()
                    await self.clock.sleep(POLL)

            group.start_soon(watch)
            try:
                await work()
            except (Failed, AiidpdError) as error:
                ended = ended or error
            group.cancel_scope.cancel()
        if ended is not None:
            raise ended

    async def _cause(self, found: Failed) -> Failed:
        """Return the failure that the containers show within a moment, where they do: it explains others."""
        until = self.clock.monotonic() + _CAUSE_WITHIN
        while self.clock.monotonic() < until:
            try:
                self._check()
            except Failed as cause:
                return cause
            await self.clock.sleep(POLL)
        return found

    def _check(self) -> None:
        if self.control.cancelled:
            raise Failed("it was cancelled", clear=False)
        self.conductor.check()
        if self.conductor.state.new.out_of_memory:
            raise Failed("the new one ran out of memory")

    def _works(self) -> Mapping[Stage, Callable[[], Awaitable[None]]]:
        return {
            Stage.BEGIN: lambda: self._reach(_PULL_WITHIN),
            Stage.BASELINE: lambda: self._measure("old"),
            Stage.START_BESIDE: self._start_beside,
            Stage.COMPARE: self._compare,
            Stage.DRAIN: self._drain,
            Stage.SWAP: lambda: self._reach(_SWAP_WITHIN),
            Stage.READY: self._new_ready,
            Stage.SETTLE: self._settle,
            Stage.ACCEPT: self._accept,
            Stage.MEASURE: lambda: self._measure("new"),
            Stage.DRAIN_BACK: self._drain,
            Stage.SWAP_BACK: lambda: self._reach(_SWAP_WITHIN),
            Stage.READY_BACK: lambda: self._ready(self.side.url),
            Stage.REPEAT: self._repeat,
            Stage.DRAIN_AGAIN: self._drain,
            Stage.SWAP_AGAIN: lambda: self._reach(_SWAP_WITHIN),
            Stage.READY_AGAIN: self._new_ready,
            Stage.JUDGE: self._judge,
            Stage.KEEP: self._keep,
            Stage.RETURN: self._return,
        }

    # The containers

    async def _reach(self, within: float) -> None:
        """Wait until it is as the stage wishes."""

        def progress(words: str) -> None:
            if words:
                self.job.progress(words)

        await self.conductor.reach(self.course.wish, progress, within)
        self._put(new_image=replace(self.upgrade.new_image, id=self._new_image_id()))

    def _new_image_id(self) -> str:
        plan = self.conductor.state.plan
        return (plan.new_image.id if plan else "") or self.upgrade.new_image.id

    async def _drain(self) -> None:
        """Wait until nobody is served, by two readings of the engine."""
        until = self.clock.monotonic() + self.options.drain
        idle, read = 0, -1.0
        while idle < _IDLE_READINGS:
            engine = self._engine()
            if unknown(engine):
                self._note(
                    "its engine reports no figures: whether somebody was served when it stopped is not known"
                )
                return
            if engine is not None and engine.read is not None and engine.read > read:
                read, idle = engine.read, 0 if others(engine) else idle + 1
            if self.clock.monotonic() >= until:
                within = f"within {self.options.drain:g} s"
                reason = (
                    f"it was not seen twice in a row that nobody is served, {within}: nothing was stopped"
                )
                raise Failed(reason, remedy="wait for a quiet hour, or give a longer --drain", clear=False)
            self.job.progress("waiting until nobody is served")
            await self.clock.sleep(POLL)

    async def _keep(self) -> None:
        state = await self.conductor.keep()
        if state.ended != "kept":
            reason = state.disturbed or state.problem or "the new one could not be kept"
            self._put(findings=(*self.upgrade.findings, Finding("keep", reason)))
            raise Failed(reason)

    async def _return(self) -> None:
        await self.conductor.back()

    # Well or not

    async def _new_ready(self) -> None:
        began = self.clock.monotonic()
        await self._ready("")
        if self.upgrade.ready_seconds is None:
            self._put(ready_seconds=round(self.clock.monotonic() - began, 3))

    async def _ready(self, url: str) -> None:
        """Wait until the engine answers with a token; ``url`` is empty for that of the new one."""
        until = self.clock.monotonic() + self.options.ready
        last = "its container does not run"
        while True:
            tried = self.conductor.state.new
            self.url = url or self._new_url(tried)
            if url or (tried.running and tried.health in (None, "healthy")):
                try:
                    await self.measures.target(self.url).probe(
                        ProbeRequest("Hello", 8, _READY_PROBE, 2 * _READY_PROBE)
                    )
                except Unavailable as error:
                    last = error.reason
                else:
                    return
            elif tried.running:
                last = f"its health check says {tried.health}"
            if self.clock.monotonic() >= until:
                raise Failed(f"it was not ready within {self.options.ready:g} s: {last}")
            self.job.progress(f"waiting until it answers: {last[:100]}")
            await self.clock.sleep(POLL)

    def _new_url(self, tried: TriedContainer) -> str:
        summary = summary_of(self.upgrade.container, self.views.containers())
        known = summary.addresses if summary is not None and summary.id == tried.id else {}
        return url_of(self.side, tried.addresses or known)

    async def _settle(self) -> None:
        """See that the new engine stays well, and answers at the end."""
        until = self.clock.monotonic() + self.options.settle
        while (left := until - self.clock.monotonic()) > 0:
            self.job.progress(f"seeing that it stays well: {left:.0f} s left")
            if reason := unwell(self.conductor.state.new, self._engine(), self._kills()):
                raise Failed(reason)
            await self.clock.sleep(min(POLL, left))
        await self.measures.target(self.url).probe(ProbeRequest("Hello", 8, _READY_PROBE, 2 * _READY_PROBE))

    def _kills(self) -> int:
        uses = self.views.uses()
        use = None if uses is None else uses.by_id.get(self.conductor.state.new.id)
        return 0 if use is None else use.oom_kills or 0

    def _engine(self) -> EngineState | None:
        view = self.views.engines()
        return None if view is None else view.engine(self.side.name)

    # Measurements

    async def _accept(self) -> None:
        self.job.progress("checking the criteria of acceptance")
        found, problem = await accepted(replace(self.side, url=self.url), self.url, self.options.profile)
        self._put(acceptance=found, acceptance_problem=problem)

    async def _measure(self, which: Literal["old", "new"]) -> None:
        times = await self.measures.measure(which, self.measures.target(self.url))
        found = tuple(Measurement(which, self._round, each) for each in times)
        self._put(measurements=(*self.upgrade.measurements, *found))

    async def _repeat(self) -> None:
        self._round += 1
        await self._measure("old")

    async def _start_beside(self) -> None:
        await self._reach(_SWAP_WITHIN)
        await self._ready("")

    async def _compare(self) -> None:
        """Measure both by pairs, while both run."""
        new = self.measures.target(self.url, f"{self.upgrade.container}-new")
        self.url = self.side.url
        found = await self.measures.compare(self.measures.target(self.url), new)
        self._put(compared=found.pairs, figures=found.figures, answers=found.answers)
        for note in found.notes:
            self._note(note)
        if found.problem:
            raise Failed(f"the comparison has ended early: {found.problem}", clear=False)

    async def _judge(self) -> None:
        if not self.course.beside:
            figures, answers = figures_of(self.upgrade.measurements), self.measures.answers()
            self._put(figures=figures, answers=answers)
            for note in self.measures.notes():
                self._note(note)
        findings = judge(self.upgrade, self.options)
        self._put(findings=(*self.upgrade.findings, *findings))
        if findings:
            raise Failed(findings[0].text)

    # The document

    def _take_over(self) -> None:
        """Take over into the document what the trial shows now."""
        state = self.conductor.state
        self._put(
            stopped_seconds=state.stopped_seconds,
            differences=state.differences or self.upgrade.differences,
            old_log=state.old_log or self.upgrade.old_log,
            new_log=state.new.log or self.upgrade.new_log,
        )

    def _note(self, words: str) -> None:
        if words not in self.upgrade.notes:
            self._put(notes=(*self.upgrade.notes, words))

    def _put(self, **fields: Any) -> None:
        self.upgrade = replace(self.upgrade, **fields)

    async def _beat(self) -> None:
        while True:
            self.heartbeat.beat()
            await self.clock.sleep(_BEAT)
