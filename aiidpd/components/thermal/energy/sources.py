"""Views of containers, engines and probes that energy attribution and incidents read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiidpd.components.thermal.energy.engine_tokens import TokenCount
from aiidpd.components.thermal.energy.per_token import CountedBy, Generation
from aiidpd.contracts.containers import CONTAINERS
from aiidpd.contracts.engines import ENGINES, EngineState
from aiidpd.contracts.probes import PROBES, ProbedEndpoint
from aiidpd.incidents.requests import RequestCount
from aiidpd.kernel.views import Views

_CONTAINER: Final = ("id", "name", "image", "state", "health", "gpu")
NO_ENDPOINTS: Final = "no endpoint is configured: add bench.endpoints to know of requests"
NOT_ASKED: Final = "the engine was not asked yet, or bench.engine_metrics_interval is 0"


class Sources:
    """Reads the views of the other components; never waits."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def names(self) -> Mapping[str, str]:
        """Return the containers' names by id."""
        reading = self._views.get(CONTAINERS)
        return {} if reading is None else {each.id: each.name for each in reading.value.containers}

    def running(self) -> Mapping[str, Any]:
        """Return the containers that run."""
        reading = self._views.get(CONTAINERS)
        if reading is None:
            return {"read_at": None, "reason": "no current reading of the containers", "containers": []}
        return {
            "read_at": reading.at,
            "reason": "",
            "containers": [
                {name: getattr(each, name) for name in _CONTAINER}
                for each in reading.value.containers
                if each.running
            ],
        }

    def requests(self) -> Mapping[str, Any]:
        """Return the requests that run and wait, in all and of each endpoint; null where nobody tells."""
        reading = self._views.get(PROBES)
        probed = {each.name: each for each in reading.value.endpoints} if reading else {}
        engines = {each.name: each for each in self._states()}
        found = [_requests(name, probed.get(name), engines.get(name)) for name in {**probed, **engines}]
        silent = [f"{each['name']}: {each['reason']}" for each in found if each["requests_running"] is None]
        return {
            "running": _sum(each["requests_running"] for each in found),
            "waiting": _sum(each["requests_waiting"] for each in found),
            "reason": "; ".join(silent) if found else NO_ENDPOINTS,
            "endpoints": found,
        }

    def counts(self) -> list[RequestCount]:
        """Return the last look at each engine, also where it told nothing."""
        return [
            RequestCount(each.name, each.read, each.requests_running, each.requests_waiting)
            for each in self._states()
            if each.read is not None
        ]

    def token_counts(self) -> list[TokenCount]:
        """Return the last count of each engine that counts its tokens and tells whether it works."""
        return [
            TokenCount(
                each.name,
                each.read_at,
                each.generated_tokens,
                each.uncounted_tokens,
                bool(each.requests_running or each.requests_waiting),
                each.simulated,
            )
            for each in self._states()
            if each.read_at is not None
            and each.generated_tokens is not None
            and each.requests_running is not None
        ]

    def generations(self) -> list[Generation]:
        """Return the tokens of the last probe of each endpoint."""
        reading = self._views.get(PROBES)
        found = (_generation(each) for each in reading.value.endpoints) if reading else ()
        return [generation for generation in found if generation is not None]

    def _states(self) -> tuple[EngineState, ...]:
        reading = self._views.get(ENGINES)
        return reading.value.engines if reading else ()


def _requests(name: str, probed: ProbedEndpoint | None, engine: EngineState | None) -> dict[str, Any]:
    polled = engine is not None and engine.read is not None
    return {
        "name": name,
        "requests_running": engine.requests_running if engine else None,
        "requests_waiting": engine.requests_waiting if engine else None,
        "includes_probe": engine.includes_probe if engine else False,
        "read_at": engine.read_at if engine else None,
        "reason": engine.reason if engine and polled else NOT_ASKED,
        "measured_at": probed.measured_at if probed else None,
        "output_tokens_per_second": probed.output_tokens_per_second if probed else None,
        "error": probed.error if probed else "",
    }


def _sum(counts: Any) -> int | None:
    known = [each for each in counts if each is not None]
    return sum(known) if known else None


def _generation(endpoint: ProbedEndpoint) -> Generation | None:
    ended, took = endpoint.measured_at, endpoint.total_seconds
    if ended is None or took is None or not endpoint.output_tokens:
        return None
    return Generation(
        endpoint.name, ended - took, ended, endpoint.output_tokens, CountedBy.PROBES, endpoint.simulated
    )
