"""Component engines: what inference engines report, polled once and shared by all."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.engines.api import routes
from aiidpd.components.engines.conditions import update_conditions
from aiidpd.components.engines.discovery import Discovery, FoundEngine
from aiidpd.components.engines.evidence import NAME as REQUESTS
from aiidpd.components.engines.evidence import RequestEvidence
from aiidpd.components.engines.fresh import FreshReads
from aiidpd.components.engines.liveness.wiring import Liveness
from aiidpd.components.engines.metrics import EnginesCollector
from aiidpd.components.engines.polls import Polls
from aiidpd.components.engines.settings import EnginesSettings
from aiidpd.components.engines.worker import EnginePoller
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.contracts.containers import CONTAINERS
from aiidpd.contracts.engines import ENGINE_READS, ENGINES, EngineReads, EngineState, EnginesView
from aiidpd.contracts.probes import ENDPOINTS, PROBES, Endpoint, ProbesView
from aiidpd.engines.figures import EngineSource
from aiidpd.engines.profile import EngineProfile, Facts, Start
from aiidpd.engines.target import Target
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import InactiveWorker, Task, Worker

NAME: Final = "engines"
_DEADLINE: Final = 60.0
_SHORTEST: Final = 1.0
OFF: Final = "engines.interval is 0, so that no engine is polled"


def build(context: Context) -> Component:
    """Return the component; it offers the view of the engines."""
    settings = context.settings("engines", EnginesSettings)
    # Each engine's state has the time at which it was read, and the poller takes all away when it ends.
    latest: Latest[EnginesView] = Latest(context.clock, max_age=math.inf)
    polls, fresh = Polls(), FreshReads()

    def probes() -> ProbesView:
        reading = context.views.get(PROBES)
        return reading.value if reading else ProbesView()

    evidence = RequestEvidence(latest, probes)

    def source(engine: FoundEngine) -> EngineSource:
        return _source(engine, context, lambda: engine.name in probes().running)

    found: dict[str, FoundEngine] = {}

    def on_found(engines: Sequence[FoundEngine]) -> None:
        found.clear()
        found.update((each.name, each) for each in engines)
        update_conditions(context.conditions, engines)

    def target(engine: EngineState) -> Target | None:
        return _target(engine, found[engine.name]) if engine.name in found else None

    def worker() -> Worker:
        if not settings().interval:
            return InactiveWorker(OFF)
        return EnginePoller(
            _finder(context, settings()),
            source,
            max(_SHORTEST, settings().interval),
            latest=latest,
            probes=probes,
            clock=context.clock,
            polls=polls,
            on_state=evidence.record,
            on_found=on_found,
            fresh=fresh,
        )

    context.incidents.contribute(REQUESTS, evidence)
    liveness = Liveness(context, lambda: settings().liveness, latest.get, target)
    reads: Reading[EngineReads] = Reading(fresh, context.clock.time(), context.clock.monotonic())
    context.views.offer(ENGINE_READS, lambda: reads)
    context.views.offer(ENGINES, lambda: liveness.verdicts.merged(latest.get()))
    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE), liveness.task),
        collectors={
            NAME: EnginesCollector(lambda: context.views.get(ENGINES), polls),
            "liveness": liveness.collector,
        },
        close=liveness.close,
        routes=routes(lambda: context.views.get(ENGINES), polls, context.clock, lambda: context.status(NAME)),
    )


def _finder(context: Context, settings: EnginesSettings) -> Callable[[], tuple[FoundEngine, ...]]:
    """Return what finds the engines that are polled by ``settings``."""
    discovery = Discovery()
    last: tuple[object, object] = (None, None)
    found: tuple[FoundEngine, ...] = ()

    def find() -> tuple[FoundEngine, ...]:
        nonlocal last, found
        endpoints = context.views.get(ENDPOINTS)
        containers = context.views.get(CONTAINERS) if settings.containers else None
        seen = (endpoints.value if endpoints else (), containers.read if containers else None)
        if seen != last:
            running = containers.value.containers if containers and not containers.value.simulated else ()
            found = discovery.find(
                tuple(map(_named, endpoints.value)) if endpoints else (), settings.servers, running
            )
            last = seen
        return found

    return find


def _named(endpoint: Endpoint) -> Endpoint:
    """Return ``endpoint`` with its model, also where that is made up."""
    if not endpoint.simulated:
        return endpoint
    from aiidpd.engines.simulated import SimulatedTarget

    return replace(endpoint, model=SimulatedTarget.model)


def _source(engine: FoundEngine, context: Context, probing: Callable[[], bool]) -> EngineSource:
    if engine.simulated:
        from aiidpd.engines.simulated import SimulatedEngine

        return SimulatedEngine(context.clock, probing)
    from aiidpd.components.engines.processes import find_start
    from aiidpd.engines.all import profile_named
    from aiidpd.engines.reader import EngineReader
    from aiidpd.platform.thread import in_daemon_thread

    def start_of(profile: EngineProfile) -> Awaitable[Start | None]:
        return in_daemon_thread(lambda: find_start(profile, engine.url))

    return EngineReader(
        engine.name,
        engine.url,
        profile=profile_named(engine.profile),
        facts=Facts(engine.model, engine.start, engine.may_sleep),
        api_key=engine.api_key,
        find_start=None if engine.container else start_of,
        monotonic=context.clock.monotonic,
    )


def _target(engine: EngineState, found: FoundEngine) -> Target | None:
    """Return what sends a completion to an engine; None where its address or its model is not known."""
    from aiidpd.engines.all import profile_named
    from aiidpd.engines.openai import OpenAITarget

    profile = profile_named(engine.engine)
    model = found.model or (profile.any_model if profile else "")
    if not found.url or not model:
        return None
    try:
        return OpenAITarget(found.name, found.url, model, api_key=found.api_key)
    except Misconfigured:
        return None


def _checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    from aiidpd.components.engines.checks import checks

    return checks(settings.table("engines", EnginesSettings), around)


SPEC: Final = Spec(NAME, {"engines": EnginesSettings}, build, follows=("bench",), checks=_checks)
