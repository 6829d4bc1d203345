"""Account of energy over the API, with what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiidpd.api.access import Access
from aiidpd.api.document import parse
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.thermal.energy.attribution import Share
from aiidpd.components.thermal.energy.counter import CARD_ACCURACY
from aiidpd.components.thermal.energy.meter import EnergyMeter, EnergyView
from aiidpd.components.thermal.energy.per_token import TokenEnergy, cost_of_million
from aiidpd.components.thermal.energy.state import GpuEnergy

_JOULES_PER_KWH: Final = 3.6e6
NO_TOKENS: Final = (
    "no generated tokens were counted while the GPUs' energy was known: configure bench.endpoints, and wait "
    "for a measurement"
)


@dataclass(frozen=True, slots=True)
class GpuEnergyDocument:
    """Energy of one GPU; ``method`` is "counter" (the card's) or "power" (added up)."""

    index: int
    uuid: str
    name: str
    joules: float
    error_joules: float
    """By how much it may be off, either way."""
    method: Literal["counter", "power"] | None
    unknown_seconds: float
    """For how long nothing was known; that is not filled in."""
    counter_resets: int
    cost: float
    simulated: bool


@dataclass(frozen=True, slots=True)
class ContainerEnergyDocument:
    """A container's share: an estimate, and the bounds that hold whoever did how much of the work."""

    name: str
    """In brackets where it is no container: (host), (nobody), (unknown) and so on."""
    joules: float
    low_joules: float
    high_joules: float
    sharing: Literal["alone", "memory", "equal"]
    cost: float


@dataclass(frozen=True, slots=True)
class TokenEnergyDocument:
    """Energy of a generated token, with all energy of the GPUs in that time laid on it."""

    source: str
    counted_by: Literal["engine", "probes"]
    """By the engine's own counter, over its working time in the last hour; or by a probe."""
    started_at: float
    ended_at: float
    tokens: int
    joules_per_token: float
    low_joules_per_token: float
    high_joules_per_token: float
    with_idle_joules_per_token: float | None
    """With the energy of the time in which the engine had nothing to do."""
    cost_per_million_tokens: float
    low_cost_per_million_tokens: float
    high_cost_per_million_tokens: float
    with_idle_cost_per_million_tokens: float | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class EnergyDocument:
    """Account of energy since ``since``. Costs are in ``currency``."""

    since: float
    price_per_kwh: float
    currency: str
    card_accuracy_ratio: float
    gpus: list[GpuEnergyDocument]
    containers: list[ContainerEnergyDocument]
    tokens: list[TokenEnergyDocument]
    reason: str
    """Why there is no figure per token; empty where there is one."""
    simulated: bool


def routes(energy: EnergyMeter, price: Callable[[], tuple[float, str]]) -> tuple[Route, ...]:
    """Return the route of the account; ``price`` gives the price of a kilowatt-hour and its currency."""

    async def get_energy(_call: Call) -> Answer:
        return parse(EnergyDocument, account(energy.view(), *price()))

    return (
        Route(
            "GET",
            "/v1/gpus/energy",
            Access.READ,
            get_energy,
            "The energy of GPUs, containers and generated tokens, and what it cost.",
            EnergyDocument,
        ),
    )


def account(view: EnergyView, price: float, currency: str) -> dict[str, Any]:
    """Return the account with what it costs, as the document has it."""
    return {
        "since": view.since,
        "price_per_kwh": price,
        "currency": currency,
        "card_accuracy_ratio": CARD_ACCURACY,
        "gpus": [_gpu(gpu, price) for gpu in view.gpus],
        "containers": [_share(name, share, price) for name, share in _by_size(view)],
        "tokens": [_token(token, price) for token in view.tokens],
        "reason": "" if view.tokens else NO_TOKENS,
        "simulated": any(gpu.simulated for gpu in view.gpus),
    }


def _gpu(gpu: GpuEnergy, price: float) -> dict[str, Any]:
    meter = gpu.meter
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "joules": meter.joules,
        "error_joules": meter.error,
        "method": meter.method.value if meter.method else None,
        "unknown_seconds": meter.unknown,
        "counter_resets": meter.resets,
        "cost": meter.joules / _JOULES_PER_KWH * price,
        "simulated": gpu.simulated,
    }


def _by_size(view: EnergyView) -> list[tuple[str, Share]]:
    return sorted(view.shares.items(), key=lambda item: (-item[1].joules, item[0]))


def _share(name: str, share: Share, price: float) -> dict[str, Any]:
    return {
        "name": name,
        "joules": share.joules,
        "low_joules": share.low(),
        "high_joules": share.high(),
        "sharing": share.shared.value,
        "cost": share.joules / _JOULES_PER_KWH * price,
    }


def _token(token: TokenEnergy, price: float) -> dict[str, Any]:
    generation = token.generation
    return {
        "source": generation.source,
        "counted_by": generation.counted_by.value,
        "started_at": generation.started_at,
        "ended_at": generation.ended_at,
        "tokens": generation.tokens,
        "joules_per_token": token.joules,
        "low_joules_per_token": token.low,
        "high_joules_per_token": token.high,
        "with_idle_joules_per_token": token.with_idle,
        "cost_per_million_tokens": cost_of_million(token.joules, price),
        "low_cost_per_million_tokens": cost_of_million(token.low, price),
        "high_cost_per_million_tokens": cost_of_million(token.high, price),
        "with_idle_cost_per_million_tokens": None
        if token.with_idle is None
        else cost_of_million(token.with_idle, price),
        "simulated": generation.simulated,
    }
