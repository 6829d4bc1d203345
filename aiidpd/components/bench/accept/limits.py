"""Limits that physics sets to the figures of an endpoint, and speeds to expect of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.physics import roofline, speculative
from aiidpd.physics.efficiency import GENERAL, Efficiency
from aiidpd.physics.model_shape import ModelShape
from aiidpd.physics.units import GB, gb_per_second


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory, compute and model of a server; None is what is not known.

    ``reason`` says why something is not known and what to give. ``stated``: a person gave ``weights``, and
    also ``bandwidth`` or it is that of the only GPU, and so they are no assumptions. ``notes`` say where each
    is from.
    """

    bandwidth: float | None = None
    flops: float | None = None
    weights: float | None = None
    parameters: float | None = None
    efficiency: Efficiency = GENERAL
    draft_accepted: float = 1.0
    stated: bool = False
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """Bound of one figure with its arithmetic: the most of a speed, the least of a time."""

    value: float
    arithmetic: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds by figure. ``expected`` and ``least`` are what derived criteria are shares of.

    ``certain``: a measured figure beyond its bound is no figure, and a criterion beyond it is impossible;
    else the bound is an assumption, which a figure beyond it disproves.
    ``reason`` says why those are not known that are None.
    """

    bounds: Mapping[str, Limit] = field(default_factory=lambda: MappingProxyType({}))
    expected: Limit | None = None
    least: Limit | None = None
    certain: bool = False
    reason: str = ""


def limits(machine: Machine, *, prompt_tokens: float | None, streams: int) -> Limits:
    """Return the limits of requests with ``prompt_tokens`` new ones each, and of ``streams`` at once."""
    if machine.weights is None or machine.bandwidth is None:
        return Limits(reason=machine.reason or "what physics allows is not known")
    shape = ModelShape(weight_bytes=machine.weights, active_parameters=machine.parameters)
    step = roofline.decode(shape, machine.bandwidth, machine.efficiency)
    read = f"{machine.weights / GB:.4g} GB"
    bandwidth = gb_per_second(machine.bandwidth)
    draft = "" if machine.draft_accepted == 1 else f" x {machine.draft_accepted:g} accepted"
    ceiling = speculative.ceiling(step.request_ceiling, machine.draft_accepted)
    expected = speculative.ceiling(step.request_expected, machine.draft_accepted)
    one = f"1 / ({read} / {bandwidth}){draft}"
    reached = gb_per_second(machine.efficiency.bandwidth(machine.bandwidth))
    overhead = f"{1000 * machine.efficiency.overhead(machine.weights):.3g} ms"
    least, by_compute = _least(machine, prompt_tokens, read, bandwidth)
    bounds = {
        "tokens_per_second": Limit(ceiling, one),
        "concurrent_tokens_per_second": Limit(streams * ceiling, f"{streams} x {one}"),
        "ttft_p50": least,
        "ttft_p95": least,
        "concurrent_ttft_p95": least,
    }
    return Limits(
        bounds=MappingProxyType(bounds),
        expected=Limit(expected, f"1 / ({read} / {reached} + {overhead}){draft}"),
        least=least if by_compute else None,
        certain=machine.stated,
        reason="" if by_compute else machine.reason or "what reading a prompt takes is not known",
    )


def _least(machine: Machine, prompt_tokens: float | None, read: str, bandwidth: str) -> tuple[Limit, bool]:
    """Return the least time to a first token, and whether reading the prompt is a part of it."""
    weights = (machine.weights or 0.0) / (machine.bandwidth or 1.0)
    if not machine.flops or not machine.parameters or not prompt_tokens:
        return Limit(weights, f"{read} / {bandwidth}"), False
    compute = roofline.prefill_seconds(machine.parameters, prompt_tokens, machine.flops)
    if compute <= weights:
        return Limit(weights, f"{read} / {bandwidth}"), True
    work = f"2 x {machine.parameters / 1e9:.4g}e9 x {prompt_tokens:.0f} tokens"
    return Limit(compute, f"{work} / {machine.flops / 1e12:.4g} TFLOP/s"), True
