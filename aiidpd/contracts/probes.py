"""Views of the configured endpoints and of their measurements (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from aiidpd.kernel.views import View


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One inference endpoint of the configuration; a simulated one has no URL."""

    name: str
    url: str
    model: str
    simulated: bool
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ProbedEndpoint:
    """An endpoint and its last measurement that succeeded; ``error`` is why the last one failed.

    ``probed`` is when the last one ended, in monotonic seconds; ``measured_at`` is in Unix seconds.
    """

    name: str
    simulated: bool
    probed: float | None = None
    measured_at: float | None = None
    total_seconds: float | None = None
    output_tokens: int | None = None
    output_tokens_per_second: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ProbesView:
    """Every endpoint in the order of the configuration; ``running`` names those that are probed right now."""

    endpoints: tuple[ProbedEndpoint, ...] = ()
    running: frozenset[str] = frozenset()


ENDPOINTS: Final[View[tuple[Endpoint, ...]]] = View("endpoints")
PROBES: Final[View[ProbesView]] = View("probes")
