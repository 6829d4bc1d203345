"""Machine and model of a server: what a person gave, what the daemon and the server say, what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiidpd.api.client import ControlClient, ControlError
from aiidpd.components.bench.accept.limits import Machine
from aiidpd.physics.efficiency import GENERAL
from aiidpd.physics.hardware import Device, Hardware, UnknownDevice, parse_hardware
from aiidpd.physics.units import GB, gb_per_second
from aiidpd.platform import ram_bandwidth

_HARDWARE: Final = Path(__file__).resolve().parents[3] / "physics/hardware.toml"
_DRIVER: Final = Path("/proc/driver/nvidia/gpus")
_GPU_FILES: Final = (Path("/dev/nvidia0"), Path("/dev/kfd"))
_MOST_CHARACTERS: Final = 4096
_ASSUMED: Final = "all weights are read for each token, by {}"


@dataclass(frozen=True, slots=True)
class Given:
    """Statements of a person on the machine; None where it is to be found out."""

    weights: float | None = None
    parameters: float | None = None
    gpu: str | None = None
    bandwidth: float | None = None
    precision: str = "fp16"
    draft_accepted: float = 1.0


@dataclass(frozen=True, slots=True)
class _Memory:
    """Device, the bandwidth of its memory, and why that is not known.

    ``certain``: a person stated it, or it is that of the only GPU, than which the RAM is slower.
    """

    device: Device | None = None
    bandwidth: float | None = None
    reason: str = ""
    certain: bool = False


class UnknownGpu(ValueError):
    """A name of a GPU that means none, or several."""


def machine_of(
    given: Given,
    described: Mapping[str, Any],
    client: ControlClient | None,
    *,
    local: bool,
) -> Machine:
    """Return the machine behind a server, ``local`` where that is this one.

    Reads the daemon's list of GPUs, and measures the RAM where there is none. Blocks; raises
    :class:`UnknownGpu` for a name that a person gave.
    """
    notes: list[str] = []
    weights, parameters = given.weights, given.parameters
    if weights is None and described.get("weights"):
        weights = float(described["weights"])
        notes.append(f"weights: {weights / GB:.4g} GB; " + _ASSUMED.format("the server's list of models"))
    if parameters is None and given.weights is None and described.get("parameters"):
        parameters = float(described["parameters"])
    if weights is None:
        return Machine(reason="the weights are not known: give --weights such as 4.58GiB")
    memory = _memory(given, client, local=local, notes=notes)
    if memory.bandwidth is None:
        return Machine(weights=weights, reason=memory.reason, notes=tuple(notes))
    device = memory.device
    lacking = (
        "the compute is not known: give --gpu"
        if parameters
        else "parameters are not known: give --parameters"
    )
    return Machine(
        bandwidth=memory.bandwidth,
        flops=device.flops_at(given.precision) if device else None,
        weights=weights,
        parameters=parameters,
        efficiency=read_hardware().efficiency(device) if device else GENERAL,
        draft_accepted=given.draft_accepted,
        stated=memory.certain and given.weights is not None,
        reason=lacking,
        notes=tuple(notes),
    )


def read_hardware() -> Hardware:
    """Return the devices that the package knows. Blocks."""
    return parse_hardware(_HARDWARE.read_text(encoding="utf-8"))


def _memory(given: Given, client: ControlClient | None, *, local: bool, notes: list[str]) -> _Memory:
    if given.gpu is not None:
        try:
            device = read_hardware().find(given.gpu, given.bandwidth)
        except UnknownDevice as error:
            raise UnknownGpu(str(error)) from None
        return _Memory(device, given.bandwidth or device.bandwidth, certain=True)
    if given.bandwidth is not None:
        return _Memory(None, given.bandwidth, certain=True)
    if not local:
        return _Memory(reason="the server is on another machine: give --gpu or --bandwidth")
    for names, source in ((_named_by_daemon(client), "the daemon"), (_named_by_driver(), "its driver")):
        if names:
            return _first(names, source, notes)
    if any(each.exists() for each in _GPU_FILES):
        return _Memory(reason="there is a GPU and nothing that names it: give --gpu or --bandwidth")
    return _ram(notes)


def _first(names: Sequence[str], source: str, notes: list[str]) -> _Memory:
    try:
        device = read_hardware().find(names[0])
    except UnknownDevice as error:
        return _Memory(reason=f"{error}: give --gpu or --bandwidth")
    others = f", the first of {len(names)}" if len(names) > 1 else ""
    rate = gb_per_second(device.bandwidth)
    notes.append(f"memory: {rate} of {device.name}{others}, as {source} names it")
    return _Memory(device, device.bandwidth, certain=len(names) == 1)


def _ram(notes: list[str]) -> _Memory:
    try:
        found = ram_bandwidth.measure()
    except ram_bandwidth.NotMeasured as error:
        return _Memory(reason=f"the RAM can't be measured ({error}): give --bandwidth")
    notes.append(f"memory: {gb_per_second(found.bytes_per_second)} of the RAM, measured now")
    return _Memory(None, found.bytes_per_second)


def _named_by_daemon(client: ControlClient | None) -> list[str]:
    """Return the names of the GPUs that the daemon shows, none where they are simulated."""
    if client is None:
        return []
    try:
        document = client.get("/v1/gpus")
    except ControlError:
        return []
    return [] if document.get("simulated") else [str(each["name"]) for each in document["gpus"]]


def _named_by_driver() -> list[str]:
    """Return the names of the GPUs that NVIDIA's driver shows without NVML."""
    found = []
    for path in sorted(_DRIVER.glob("*/information")):
        try:
            lines = path.read_text(encoding="ascii", errors="replace")[:_MOST_CHARACTERS].splitlines()
        except OSError:
            continue
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found
