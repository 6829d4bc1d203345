"""Component bench: the speed of inference, measured by the request of a short completion."""

from __future__ import annotations

from typing import Final, TypeVar

from aiidpd.component import Component, Context, Spec
from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.api import routes
from aiidpd.components.bench.circumstances.recording import Recording
from aiidpd.components.bench.claims import ClaimWatch
from aiidpd.components.bench.compare.api import routes as compare_routes
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.compare.run import Comparer
from aiidpd.components.bench.compare.store import FOLDER, ComparisonStore
from aiidpd.components.bench.guard.api import routes as guard_routes
from aiidpd.components.bench.guard.wiring import make_guard
from aiidpd.components.bench.metrics import BenchCollector
from aiidpd.components.bench.regression import api as regressions
from aiidpd.components.bench.regression.metrics import RegressionCollector
from aiidpd.components.bench.regression.monitor import RegressionMonitor
from aiidpd.components.bench.regression.record import FILE, LIMIT, BenchRecords
from aiidpd.components.bench.schedule import max_age, worker_deadline
from aiidpd.components.bench.settings import BenchSettings, EndpointSettings
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.contracts.claims import CLAIMS
from aiidpd.contracts.engines import ENGINE_READS, ENGINES, EngineReads, EnginesView
from aiidpd.contracts.messages import BackOffMessage
from aiidpd.contracts.probes import ENDPOINTS, PROBES, Endpoint, ProbedEndpoint, ProbesView
from aiidpd.engines.target import Target
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import Task
from aiidpd.platform.statefile import StateFile

T = TypeVar("T")
NAME: Final = "bench"
_DISK: Final = 1.0  # seconds that the end of the daemon waits for the disk


def build(context: Context) -> Component:
    """Return the component; it offers the views of the endpoints and of the probes."""
    settings = context.settings("bench", BenchSettings)
    latest: Latest[BenchView] = Latest(context.clock, max_age=0)
    queue = JobQueue(context.jobs, NAME)
    back_offs = context.messages.inbox(BackOffMessage)
    running: set[str] = set()
    monitor = RegressionMonitor(
        StateFile(context.state_directory / FILE, BenchRecords, limit=LIMIT),
        publish=context.publish,
        conditions=context.conditions,
        clock=context.clock,
    )
    claims = ClaimWatch(context.conditions, lambda: value_of(context.views.get(CLAIMS)))

    def engines() -> EnginesView | None:
        return value_of(context.views.get(ENGINES))

    def reads() -> EngineReads | None:
        return value_of(context.views.get(ENGINE_READS))

    prober = AloneProber(clock=context.clock, engines=engines, reads=reads, running=running)
    store, control = ComparisonStore(context.state_directory / FOLDER), ComparisonControl()
    comparer = Comparer(store, control, clock=context.clock, publish=context.publish, prober=prober)

    def recording(target: Target) -> Recording:
        return Recording(context.views, context.clock, target.name, simulated=target.simulated)

    guard = make_guard(context, prober)

    def worker() -> BenchWorker:
        bench = settings()
        latest.max_age = max_age(bench)
        return BenchWorker(
            [_target(endpoint, context.clock) for endpoint in bench.endpoints],
            bench,
            queue=queue,
            latest=latest,
            publish=context.publish,
            clock=context.clock,
            back_offs=back_offs,
            running=running,
            engines=engines,
            reads=reads,
            recording=recording,
            regressions=monitor,
            claims=claims,
            comparer=comparer,
            guard=guard,
        )

    def endpoints() -> Reading[tuple[Endpoint, ...]]:
        found = tuple(map(_endpoint, settings().endpoints))
        return Reading(found, context.clock.time(), context.clock.monotonic())

    def probes() -> Reading[ProbesView] | None:
        reading = latest.get()
        if reading is None:
            return None
        view = ProbesView(tuple(map(_probed, reading.value.endpoints)), frozenset(running))
        return Reading(view, reading.at, reading.read)

    context.views.offer(ENDPOINTS, endpoints)
    context.views.offer(PROBES, probes)
    return Component(
        tasks=(Task(NAME, worker, lambda: worker_deadline(settings())),),
        collectors={NAME: BenchCollector(latest), "bench_baselines": RegressionCollector(monitor)},
        routes=(
            *routes(latest, lambda: context.views.get(ENGINES), queue, lambda: context.status(NAME)),
            *compare_routes(store, control, queue, context.history, context.clock),
            *regressions.routes(monitor),
            *guard_routes(guard, queue),
        ),
        close=lambda: monitor.close(_DISK),
    )


def value_of(reading: Reading[T] | None) -> T | None:
    """Return the value of ``reading``, None where there is none."""
    return reading.value if reading else None


def _target(endpoint: EndpointSettings, clock: Clock) -> Target:
    if endpoint.kind == "simulated":
        from aiidpd.engines.simulated import SimulatedTarget

        return SimulatedTarget(clock, name=endpoint.name)
    from aiidpd.engines.openai import OpenAITarget

    key = endpoint.api_key.get_secret_value() if endpoint.api_key else None
    return OpenAITarget(endpoint.name, endpoint.url, endpoint.model, api_key=key)


def _endpoint(endpoint: EndpointSettings) -> Endpoint:
    simulated = endpoint.kind == "simulated"
    key = endpoint.api_key.get_secret_value() if endpoint.api_key else None
    return Endpoint(endpoint.name, endpoint.url, endpoint.model, simulated, key)


def _probed(view: EndpointView) -> ProbedEndpoint:
    sample = view.sample
    return ProbedEndpoint(
        view.name,
        view.simulated,
        probed=view.probed,
        measured_at=view.measured_at,
        total_seconds=sample.total_seconds if sample else None,
        output_tokens=sample.output_tokens if sample else None,
        output_tokens_per_second=sample.output_tokens_per_second if sample else None,
        error=view.error,
    )


def _checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    from aiidpd.components.bench.checks import checks

    return checks(settings.table("bench", BenchSettings), around)


SPEC: Final = Spec(NAME, {"bench": BenchSettings}, build, checks=_checks)
