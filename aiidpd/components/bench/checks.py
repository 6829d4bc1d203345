"""Checks of the endpoints whose speed is measured: whether somebody listens there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from aiidpd.components.bench.settings import BenchSettings, EndpointSettings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, warning
from aiidpd.platform.reach import reaches


def checks(settings: BenchSettings, _around: Surroundings) -> tuple[Check, ...]:
    """Return the checks, one an endpoint, so that they run side by side."""
    return tuple(Check("endpoints", partial(_endpoint, each)) for each in settings.endpoints)


def _endpoint(endpoint: EndpointSettings) -> Iterator[CheckResult]:
    if endpoint.kind == "simulated":
        cure = "name a server's url and model in [[bench.endpoints]] to measure a real one"
        yield warning(f"the endpoint {endpoint.name} is SIMULATED", cure)
    else:
        yield from reaches(endpoint.url, f"the endpoint {endpoint.name}")
