"""Ceiling of a load's output, by weights and memory, for as many requests as shared each step (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.components.bench.accept.limits import Machine
from aiidpd.physics import roofline, speculative
from aiidpd.physics.model_shape import ModelShape
from aiidpd.physics.units import GB, gb_per_second


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Most tokens a second that ``requests`` at once can have together, with its arithmetic.

    ``certain``: a person stated weights and memory, so that a figure above it is none.
    """

    requests: int
    tokens_per_second: float
    arithmetic: str
    certain: bool


def ceiling_of(machine: Machine, requests: int) -> Ceiling | None:
    """Return the ceiling for ``requests`` at once, None where the machine is not known.

    What their contexts need is left out, as their lengths differ: it would only lower it.
    """
    if machine.weights is None or machine.bandwidth is None or requests < 1:
        return None
    shape = ModelShape(weight_bytes=machine.weights, active_parameters=machine.parameters)
    step = roofline.decode(shape, machine.bandwidth, machine.efficiency, batch=requests, flops=machine.flops)
    accepted = machine.draft_accepted
    draft = "" if accepted == 1 else f" x {accepted:g} accepted"
    read = f"{machine.weights / GB:.4g} GB / {gb_per_second(machine.bandwidth)}"
    if step.bound == "compute":
        words = f"2 x {(machine.parameters or 0) / 1e9:.4g}e9 / {(machine.flops or 0) / 1e12:.4g} TFLOP/s"
        arithmetic = f"1 / ({words}){draft}"
    else:
        arithmetic = f"{requests} / ({read}){draft}"
    value = speculative.ceiling(step.batch_ceiling, accepted)
    return Ceiling(requests, value, arithmetic, machine.stated)
