"""Rules on GPUs in a container (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.paths import normal
from aiidpd.components.audit.rule import Found, Level, put, rule, swap
from aiidpd.contracts.inspections import Inspection

_VISIBLE: Final = "NVIDIA_VISIBLE_DEVICES"
_CAPABILITIES: Final = "NVIDIA_DRIVER_CAPABILITIES"
_NEEDED: Final = frozenset({"gpu", "compute", "utility", "nvidia"})


@rule(
    "gpu-devices",
    Level.MEDIUM,
    "GPUs come as plain devices",
    why="Files of the driver and the devices don't change together: after an update, or a reload of systemd, "
    "the container has lost its GPU.",
    remedy="reserve the GPU under deploy.resources.reservations.devices",
)
def gpu_devices(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find devices of NVIDIA that are named one by one."""
    for each in container.devices:
        if normal(each.host).startswith("/dev/nvidia"):
            edits = (swap("devices", each.host, None),)
            yield Found(f"it has the device {each.host}", "devices", edits, guess=True)


@rule(
    "gpu-every",
    Level.LOW,
    "It takes every GPU",
    why="Two engines on one GPU take memory from each other, and a heal of one disturbs the other.",
    remedy="name the GPUs that it uses, by their UUIDs",
)
def gpu_every(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find containers that take all GPUs of a machine with several."""
    if facts.gpus is None or facts.gpus < 2:  # noqa: PLR2004 -- with one there is nothing to choose
        return
    every = any(
        each.count == -1 and not each.ids and (each.driver == "nvidia" or "gpu" in each.capabilities)
        for each in container.device_requests
    )
    by_name = container.runtime == "nvidia" and container.environment.get(_VISIBLE) == "all"
    if every or by_name:
        yield Found(f"it takes all {facts.gpus} GPUs", "deploy.resources.reservations.devices", guess=True)


@rule(
    "gpu-capabilities",
    Level.LOW,
    "It gets more of the driver than it needs",
    why="Graphics, video and display are libraries and devices that no inference needs.",
    remedy="ask for compute and utility alone",
)
def gpu_capabilities(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers that ask for more of the driver than inference needs."""
    given = container.environment.get(_CAPABILITIES, "") if container.gpu else ""
    asked = {part.strip() for part in given.split(",") if part.strip()}
    asked |= {part for each in container.device_requests for part in each.capabilities}
    if more := sorted(asked - _NEEDED):
        edits = (put(f"environment.{_CAPABILITIES}", "compute,utility"),)
        yield Found(f"it asks for {', '.join(more)[:100]} of the driver", "environment", edits, guess=True)


RULES: Final = (gpu_devices, gpu_every, gpu_capabilities)
