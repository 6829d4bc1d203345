"""Forms a verdict on each engine, once a second, and has the hung ones healed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import anyio

from aiidpd.components.engines.liveness import checks, silent
from aiidpd.components.engines.liveness.checks import CheckState
from aiidpd.components.engines.liveness.conditions import HUNG, SILENT, VERDICTS, of_fault, of_verdict
from aiidpd.components.engines.liveness.decide import begin, step
from aiidpd.components.engines.liveness.history import check_deadline, with_check
from aiidpd.components.engines.liveness.memory import LivenessMemory
from aiidpd.components.engines.liveness.observation import Observation, gpu_activity, wants_gpu
from aiidpd.components.engines.liveness.silent import SilentState
from aiidpd.components.engines.liveness.state import LivenessState, Outcome
from aiidpd.components.engines.liveness.verdicts import EngineVerdict, Verdicts
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.backoff import BackOffs
from aiidpd.contracts.containers import CONTAINER_USE, CONTAINERS, ContainerSummary, ContainerUse
from aiidpd.contracts.engines import EngineState, EnginesView, Verdict
from aiidpd.contracts.gpus import GPUS, GpusView
from aiidpd.contracts.messages import BackOffMessage, Cure, HealRequested
from aiidpd.contracts.probes import PROBES, ProbesView
from aiidpd.engines.target import ProbeRequest, Target
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Severity
from aiidpd.kernel.inbox import Inbox, Messages
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.kernel.views import View, Views

T = TypeVar("T")

NAME: Final = "engines.liveness"
DEADLINE: Final = 60.0
HOLD_SECONDS: Final = 15.0
_INTERVAL: Final = 1.0
_HEAL_EVERY: Final = 5.0
_SAVE_EVERY: Final = 300.0
_SLACK: Final = 0.5
_PROMPT: Final = "Say one word."
_WELL: Final = (Verdict.IDLE, Verdict.WORKING, Verdict.SATURATED, Verdict.SLEEPING)
_ILL: Final = (Verdict.HUNG, Verdict.STALLED)


@dataclass(frozen=True, slots=True)
class Sources:
    """Views that verdicts are formed from: that of the engines, and those of other components."""

    engines: Callable[[], EnginesView | None]
    views: Views

    def known(self, view: View[T]) -> T | None:
        """Return what is known of ``view`` now."""
        reading = self.views.get(view)
        return reading.value if reading is not None else None


class LivenessWorker:
    """Updates ``verdicts`` once a second with what :mod:`decide` makes of the views of ``sources``.

    ``target`` returns what sends an engine a completion, None where that is not possible. At most one is
    under way. ``memory`` outlives this object.
    """

    def __init__(
        self,
        sources: Sources,
        settings: LivenessSettings,
        *,
        memory: LivenessMemory,
        verdicts: Verdicts,
        target: Callable[[EngineState], Target | None],
        publish: Publisher,
        conditions: Conditions,
        messages: Messages,
        clock: Clock,
        back_offs: Inbox[BackOffMessage] | None = None,
    ) -> None:
        self._sources = sources
        self._settings = settings
        self._memory = memory
        self._verdicts = verdicts
        self._target = target
        self._publish = publish
        self._conditions = conditions
        self._messages = messages
        self._clock = clock
        self._inbox = back_offs
        self._back_offs = BackOffs()
        self._checking = ""
        self._due: tuple[EngineState, CheckState] | None = None
        self._wanted = anyio.Event()
        self._healed: dict[str, float] = {}
        self._event_ids: dict[str, int] = {}
        self._probed: dict[str, float] = {}
        self._own: dict[str, int] = {}
        self._saved = 0.0

    @property
    def simulated(self) -> bool:
        """True where any engine is made up."""
        view = self._sources.engines()
        return view is not None and any(each.simulated for each in view.engines)

    async def run(self, heartbeat: Heartbeat) -> None:
        """Form verdicts until cancelled."""
        problem = self._memory.load()
        if problem:
            self._publish.event("engine.history_unreadable", problem, severity=Severity.WARNING)
        self._saved = self._clock.monotonic()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._check)
                while True:
                    with heartbeat.working():
                        self._pass()
                    await self._clock.sleep(_INTERVAL)
        finally:
            self._memory.save_soon()
            self._verdicts.only(())
            self._report((), ())

    def _pass(self) -> None:
        view = self._sources.engines()
        engines = view.engines if view is not None else ()
        names = frozenset(each.name for each in engines)
        self._memory.forget(names)
        self._verdicts.only(names)
        if self._inbox is not None:
            self._back_offs = self._back_offs.after(self._inbox.take())
        containers = self._sources.known(CONTAINERS)
        by_id = {each.id: each for each in containers.containers} if containers is not None else {}
        uses = self._sources.known(CONTAINER_USE)
        gpus, probes = self._sources.known(GPUS), self._sources.known(PROBES)
        ill: list[Condition] = []
        faulty: list[Condition] = []
        for engine in engines:
            container = by_id.get(engine.container)
            use = uses.by_id.get(engine.container) if uses is not None else None
            seen = self._observation(engine, container, use, gpus, probes)
            ill += self._observe(engine, seen)
            found = silent.faults(self._memory.silent[engine.name])
            faulty += [of_fault(engine.name, each, simulated=engine.simulated) for each in found]
        self._report(ill, faulty)
        now = self._clock.monotonic()
        if now - self._saved >= _SAVE_EVERY:
            self._saved = now
            self._memory.save_soon()

    def _report(self, ill: Iterable[Condition], faulty: Iterable[Condition]) -> None:
        """Report what is wrong now. Verdicts have events of their own."""
        self._conditions.update(VERDICTS, ill, announce=False)
        self._conditions.update(SILENT, faulty)

    def _observation(
        self,
        engine: EngineState,
        container: ContainerSummary | None,
        use: ContainerUse | None,
        gpus: GpusView | None,
        probes: ProbesView | None,
    ) -> Observation:
        check = self._memory.checks.get(engine.name, CheckState())
        pids = use.pids if use is not None else frozenset()
        activity = gpu_activity(engine.container, pids, gpus) if engine.container else None
        if probes is not None:
            self._count_probes(probes)
        return Observation(
            self._clock.monotonic(),
            self._clock.time(),
            engine,
            container,
            use,
            activity,
            wants_gpu(container),
            probing=engine.name == self._checking or (probes is not None and engine.name in probes.running),
            missed_since=check.unanswered_since,
        )

    def _observe(self, engine: EngineState, seen: Observation) -> list[Condition]:
        """Form the verdict on one engine, and return it where it is to be reported."""
        memory, name = self._memory, engine.name
        if memory.models.get(name) != engine.model:
            memory.live.pop(name, None)
            memory.models[name] = engine.model
        before = memory.live.get(name) or begin(memory.history(name, engine.model), seen)
        live, outcome = step(before, seen, self._settings)
        memory.live[name] = live
        check = checks.observed(memory.checks.get(name, CheckState(live.run)), live)
        memory.checks[name] = check
        own = self._own.get(name, 0) + check.ended
        memory.silent[name] = silent.step(memory.silent.get(name, SilentState()), live, seen, own)
        start = live.history.starts[-1] if live.history.starts else None
        decision = outcome.decision
        verdict = EngineVerdict(decision.verdict, outcome.since, decision.reason, engine.model, start)
        self._verdicts.put(name, verdict)
        self._announce(engine, before, live, outcome)
        if decision.verdict is Verdict.HUNG:
            self._heal(engine, seen, outcome)
        if self._due is None and not self._checking and self._may_check(check, live, seen):
            self._due = (engine, check)
            self._wanted.set()
        if not decision.condition:
            return []
        condition = of_verdict(
            name, decision.verdict, decision.reason, since=outcome.since, simulated=engine.simulated
        )
        return [condition]

    def _may_check(self, check: CheckState, live: LivenessState, seen: Observation) -> bool:
        backing_off = bool(self._back_offs.active(seen.now))
        return checks.due(check, live, seen, self._settings.check_interval, back_off=backing_off)

    def _announce(
        self, engine: EngineState, before: LivenessState, live: LivenessState, outcome: Outcome
    ) -> None:
        publish = self._publish.marked(simulated=engine.simulated)
        decision, name = outcome.decision, engine.name
        if outcome.changed and decision.verdict is Verdict.HUNG:
            event = publish.event(
                "engine.hung", decision.reason, about=name, severity=Severity.ERROR, **decision.evidence
            )
            self._event_ids[name] = event.id
        elif outcome.changed and decision.verdict is Verdict.STALLED:
            publish.event(
                "engine.stalled", decision.reason, about=name, severity=Severity.WARNING, **decision.evidence
            )
        elif outcome.changed and outcome.before in _ILL and decision.verdict in _WELL:
            text = f"it was {outcome.before.value}; now {decision.reason}"
            publish.event("engine.recovered", text, about=name, verdict=decision.verdict.value)
        starts = live.history.starts
        if starts and starts != before.history.starts and starts[-1].first_step_seconds is None:
            loaded = starts[-1].loaded_seconds
            known = before.history.starts[-1:] and before.history.starts[-1].loaded_seconds == loaded
            if loaded is not None and not known:
                text = f"it has loaded its model, {loaded:.0f} s after its container's start"
                publish.event(
                    "engine.loaded",
                    text,
                    about=name,
                    answered_seconds=starts[-1].answered_seconds,
                    loaded_seconds=loaded,
                )

    def _heal(self, engine: EngineState, seen: Observation, outcome: Outcome) -> None:
        """Request the restart of the container of a hung engine, again and again while it is hung."""
        container = seen.container
        if container is None or seen.now - self._healed.get(engine.name, float("-inf")) < _HEAL_EVERY:
            return
        self._healed[engine.name] = seen.now
        self._messages.send(
            HealRequested(
                reason=outcome.decision.reason,
                event_id=self._event_ids.get(engine.name, 0),
                simulated=engine.simulated,
                container=container.id,
                name=container.name,
                fault=HUNG,
                cure=Cure.RESTART,
                hold_seconds=HOLD_SECONDS,
                evidence={"engine": engine.name, **outcome.decision.evidence},
            )
        )

    def _count_probes(self, probes: ProbesView) -> None:
        """Count the measurements of each endpoint: their answers are cut on purpose."""
        for each in probes.endpoints:
            if each.probed is not None and each.probed != self._probed.get(each.name):
                self._own[each.name] = self._own.get(each.name, 0) + 1
                self._probed[each.name] = each.probed

    async def _check(self) -> None:
        """Send the completions that are due, one at a time."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            if self._due is None:
                continue
            engine, check = self._due
            self._checking = engine.name
            self._due = None
            try:
                target = self._target(engine)
                await self._send(engine, check, target)
            except Unavailable:
                self._done(engine.name, "error", checks.answered)
            finally:
                self._checking = ""

    async def _send(self, engine: EngineState, check: CheckState, target: Target | None) -> None:
        name, began = engine.name, self._clock.monotonic()
        self._memory.checks[name] = checks.sent(check, began)
        live = self._memory.live.get(name)
        if target is None or live is None:
            return
        deadline = check_deadline(live.history, again=check.missed > 0)
        try:
            await target.probe(ProbeRequest(_PROMPT, 1, deadline, deadline))
        except Unavailable:
            if self._clock.monotonic() - began < deadline - _SLACK:
                raise
            self._done(name, "missed", checks.missed)
        else:
            self._done(name, "answered", checks.answered)
            live = self._memory.live.get(name)
            if live is not None:
                history = with_check(live.history, self._clock.monotonic() - began)
                self._memory.live[name] = replace(live, history=history)
        finally:
            await target.aclose()

    def _done(self, name: str, result: str, after: Callable[[CheckState], CheckState]) -> None:
        counts = self._verdicts.checks
        counts[result] = counts.get(result, 0) + 1
        check = self._memory.checks.get(name)
        if check is not None:
            self._memory.checks[name] = after(check)
