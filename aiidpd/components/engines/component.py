"""Component engines: figures that inference engines report, polled once and shared by all."""

from __future__ import annotations

import math
from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.engines.evidence import NAME as REQUESTS
from aiidpd.components.engines.evidence import RequestEvidence
from aiidpd.components.engines.metrics import EnginesCollector
from aiidpd.components.engines.settings import EnginesSettings
from aiidpd.components.engines.worker import EnginePoller, PolledEngine
from aiidpd.contracts.engines import ENGINES, EnginesView
from aiidpd.contracts.probes import ENDPOINTS, PROBES, Endpoint, ProbesView
from aiidpd.engines.figures import EngineSource
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Task

NAME: Final = "engines"
_DEADLINE: Final = 60.0
_PAGE_TIMEOUT: Final = 2.0  # an engine that is well answers in milliseconds
_SHORTEST: Final = 1.0


def build(context: Context) -> Component:
    """Return the component; it offers the view of the engines behind the configured endpoints."""
    settings = context.settings("engines", EnginesSettings)
    # Each engine's state has the time at which it was read, and the poller takes all away when it ends.
    latest: Latest[EnginesView] = Latest(context.clock, max_age=math.inf)

    def probes() -> ProbesView:
        reading = context.views.get(PROBES)
        return reading.value if reading else ProbesView()

    evidence = RequestEvidence(latest, probes)

    def source(endpoint: Endpoint) -> EngineSource:
        if endpoint.simulated:
            from aiidpd.engines.simulated import SimulatedEngine

            return SimulatedEngine(context.clock, lambda: endpoint.name in probes().running)
        from aiidpd.engines.page import EnginePage

        return EnginePage(endpoint.name, endpoint.url, api_key=endpoint.api_key, timeout=_PAGE_TIMEOUT)

    def worker() -> EnginePoller:
        interval = settings().interval
        endpoints = context.views.get(ENDPOINTS)
        polled = endpoints.value if endpoints and interval else ()
        return EnginePoller(
            [PolledEngine(each.name, _model(each), each.simulated, source(each)) for each in polled],
            max(_SHORTEST, interval),
            latest=latest,
            probes=probes,
            clock=context.clock,
            on_state=evidence.record,
        )

    context.incidents.contribute(REQUESTS, evidence)
    context.views.offer(ENGINES, latest.get)
    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE),),
        collectors={NAME: EnginesCollector(latest)},
    )


def _model(endpoint: Endpoint) -> str:
    if endpoint.simulated:
        from aiidpd.engines.simulated import SimulatedTarget

        return SimulatedTarget.model
    return endpoint.model


SPEC: Final = Spec(NAME, {"engines": EnginesSettings}, build, follows=("bench",))
