"""Wires the bench worker: what is probed, and what the engines tell about themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from prometheus_client.registry import Collector

from aiidpd.components.bench.metrics import BenchCollector
from aiidpd.components.bench.schedule import BenchPolicy
from aiidpd.components.bench.view import BenchView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.components.engines.metrics import EnginesCollector
from aiidpd.components.engines.state import EnginePolicy, EnginesView
from aiidpd.components.engines.worker import EnginePoller, PolledEngine
from aiidpd.config.model import Settings
from aiidpd.config.tables.workers import Endpoint
from aiidpd.contracts.probes import OwnProbes
from aiidpd.engines.figures import EngineSource
from aiidpd.engines.target import Target
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.companions import Accompanied
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Worker

_PAGE_TIMEOUT = 2.0  # an engine that is well answers in milliseconds
_SHORTEST = 1.0


class Inference:
    """Made once, for the life of the daemon; ``settings`` gives the configuration as it now is.

    ``bench`` has the last probe of each endpoint, ``engines`` the last look at each engine.
    """

    def __init__(
        self, settings: Callable[[], Settings], clock: Clock, bus: EventBus, queue: JobQueue
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._queue = queue
        self._own = OwnProbes()
        self.bench: Latest[BenchView] = Latest(clock, max_age=0)
        # Each engine's look says itself when it was, and the reader takes all away when it ends.
        self.engines: Latest[EnginesView] = Latest(clock, max_age=math.inf)

    @property
    def collectors(self) -> Mapping[str, Collector]:
        """What turns the last readings into metrics."""
        return {"bench": BenchCollector(self.bench), "engines": EnginesCollector(self.engines)}

    def policy(self) -> BenchPolicy:
        """Return how endpoints are probed."""
        bench = self._settings().bench
        return BenchPolicy(
            interval=bench.interval,
            timeout=bench.timeout,
            first_token_timeout=bench.first_token_timeout,
            max_tokens=bench.max_tokens,
        )

    def worker(self) -> Worker:
        """Return a new worker, with the reader of engines beside it unless that is switched off."""
        bench, policy = self._settings().bench, self.policy()
        self.bench.max_age = policy.max_age
        pairs = [self._endpoint(endpoint) for endpoint in bench.endpoints]
        worker = BenchWorker(
            [target for target, _ in pairs],
            policy,
            queue=self._queue,
            latest=self.bench,
            bus=self._bus,
            clock=self._clock,
            own=self._own,
        )
        if not bench.engine_metrics_interval or not pairs:
            return worker
        reader = EnginePoller(
            [PolledEngine(target.name, target.model, target.simulated, source) for target, source in pairs],
            EnginePolicy(interval=max(_SHORTEST, bench.engine_metrics_interval)),
            latest=self.engines,
            probed=self._probed,
            own=self._own,
            clock=self._clock,
        )
        return Accompanied(worker, [reader.run])

    def _probed(self, name: str) -> float | None:
        reading = self.bench.get()
        view = reading.value.endpoint(name) if reading else None
        return view.probed if view is not None and not view.error else None

    def _endpoint(self, endpoint: Endpoint) -> tuple[Target, EngineSource]:
        if endpoint.kind == "simulated":
            from aiidpd.engines.simulated import SimulatedEngine, SimulatedTarget

            made_up = SimulatedTarget(self._clock, name=endpoint.name)
            return made_up, SimulatedEngine(self._clock, made_up)
        from aiidpd.engines.openai import OpenAITarget
        from aiidpd.engines.page import EnginePage

        key = endpoint.api_key.get_secret_value() if endpoint.api_key else None
        target = OpenAITarget(endpoint.name, endpoint.url, endpoint.model, api_key=key)
        return target, EnginePage(endpoint.name, endpoint.url, api_key=key, timeout=_PAGE_TIMEOUT)
