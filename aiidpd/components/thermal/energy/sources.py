"""Views of containers, engines and probes that energy attribution reads."""

from __future__ import annotations

from collections.abc import Mapping

from aiidpd.components.thermal.energy.per_token import CountedBy, Generation, TokenCount
from aiidpd.contracts.containers import CONTAINERS
from aiidpd.contracts.engines import ENGINES, EngineState
from aiidpd.contracts.probes import PROBES, ProbedEndpoint
from aiidpd.kernel.views import Views


class Sources:
    """Reads the views of the other components; never waits."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def names(self) -> Mapping[str, str]:
        """Return the containers' names by id."""
        reading = self._views.get(CONTAINERS)
        return {} if reading is None else {each.id: each.name for each in reading.value.containers}

    def token_counts(self) -> list[TokenCount]:
        """Return the last count of each engine that counts its tokens and reports its requests."""
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


def _generation(endpoint: ProbedEndpoint) -> Generation | None:
    ended, took = endpoint.measured_at, endpoint.total_seconds
    if ended is None or took is None or not endpoint.output_tokens:
        return None
    return Generation(
        endpoint.name, ended - took, ended, endpoint.output_tokens, CountedBy.PROBES, endpoint.simulated
    )
