"""Evidence of engines for incidents: the requests that ran and waited, before, then and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.probes import ProbedEndpoint, ProbesView
from aiidpd.incidents.evidence import Evidence, Moment
from aiidpd.incidents.incident import BEFORE
from aiidpd.incidents.ring_buffer import RingBuffers, Window
from aiidpd.incidents.series import Number, Series
from aiidpd.kernel.latest import Latest

NAME: Final = "requests"
NO_ENDPOINTS: Final = "no endpoint is configured: add bench.endpoints to know of requests"
NOT_POLLED: Final = "the engine was not polled yet, or engines.interval is 0"
_FASTEST: Final = 1.0  # seconds between two answers of an engine
_MOST_ROWS: Final = 4096  # of all endpoints together


class RequestEvidence(Evidence):
    """Records the requests of each engine, and gives those of the last answers beside the last probes."""

    def __init__(
        self,
        engines: Latest[EnginesView],
        probes: Callable[[], ProbesView],
        *,
        reach: float = BEFORE,
    ) -> None:
        self._engines = engines
        self._probes = probes
        self._rings = RingBuffers(
            "endpoint",
            (Number("requests_running", 0), Number("requests_waiting", 0)),
            reach=reach,
            fastest=_FASTEST,
        )

    @property
    def rings(self) -> RingBuffers:
        """Requests by endpoint."""
        return self._rings

    def record(self, state: EngineState) -> None:
        """Record an answer of an engine, each once; also one without figures."""
        if state.read is not None and state.read > self._rings.newest(state.name):
            self._rings.add(state.name, state.read, (state.requests_running, state.requests_waiting))

    def documents(self, moment: Moment) -> Mapping[str, Any]:
        """Return the requests that run now; those of the end are null until then."""
        if moment is Moment.BEGINNING:
            return {NAME: self._requests(), "requests_at_end": None}
        return {"requests_at_end": self._requests()}

    def summary(self, window: Window) -> tuple[Mapping[str, Any], Sequence[Series]]:
        """Return the requests of each answer from before to after; they need no file."""
        return {"requests_track": window.table(_MOST_ROWS)}, ()

    def _requests(self) -> dict[str, Any]:
        probed = {each.name: each for each in self._probes().endpoints}
        reading = self._engines.get()
        engines = {each.name: each for each in reading.value.engines} if reading else {}
        found = [_endpoint(name, probed.get(name), engines.get(name)) for name in {**probed, **engines}]
        silent = [f"{each['name']}: {each['reason']}" for each in found if each["requests_running"] is None]
        return {
            "running": _sum(each["requests_running"] for each in found),
            "waiting": _sum(each["requests_waiting"] for each in found),
            "reason": "; ".join(silent) if found else NO_ENDPOINTS,
            "endpoints": found,
        }


def _endpoint(name: str, probed: ProbedEndpoint | None, engine: EngineState | None) -> dict[str, Any]:
    answered = engine is not None and engine.read is not None
    return {
        "name": name,
        "requests_running": engine.requests_running if engine else None,
        "requests_waiting": engine.requests_waiting if engine else None,
        "includes_probe": engine.includes_probe if engine else False,
        "read_at": engine.read_at if engine else None,
        "reason": engine.reason if engine and answered else NOT_POLLED,
        "measured_at": probed.measured_at if probed else None,
        "output_tokens_per_second": probed.output_tokens_per_second if probed else None,
        "error": probed.error if probed else "",
    }


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [each for each in counts if each is not None]
    return sum(known) if known else None
