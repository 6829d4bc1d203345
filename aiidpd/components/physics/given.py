"""Model and device that the options of a command name: from files, from numbers, from the daemon."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiidpd.api.client import ControlError
from aiidpd.cli.session import Session
from aiidpd.components.physics.model_files import NoShape, read_model
from aiidpd.physics.device_names import size_of
from aiidpd.physics.hardware import Device, Hardware, UnknownDevice
from aiidpd.physics.kv_cache import KvShape
from aiidpd.physics.model_shape import ModelShape
from aiidpd.physics.units import GIB, gib

LIST: Final = "list"
"""Name of no GPU, for which all are listed."""


class BadInput(ValueError):
    """Options from which nothing can be computed, and what to give."""


@dataclass(frozen=True, slots=True)
class GivenModel:
    """Shape of a model, and what to say of it."""

    shape: ModelShape
    hidden: int | None = None
    notes: tuple[str, ...] = ()


def given_model(options: argparse.Namespace) -> GivenModel:
    """Return the model of ``--model``, or of numbers; raises :class:`BadInput`. Blocks."""
    if options.model is not None:
        if options.weights is not None:
            raise BadInput("give --model or --weights: both say what is read")
        try:
            found = read_model(Path(options.model))
        except NoShape as error:
            raise BadInput(str(error)) from None
        return GivenModel(found.shape, found.hidden, found.notes)
    if options.weights is None:
        raise BadInput("there is no model: give --model PATH, or --weights such as 4.58GiB")
    heads, length = getattr(options, "kv_heads", None), getattr(options, "head_length", None)
    kv = None
    if heads and length and options.layers:
        if options.layers > 10_000:  # noqa: PLR2004 -- no model has so many
            raise BadInput("no model has more than 10000 layers")
        kv = KvShape(kv_heads=(heads,) * options.layers, key_length=length, value_length=length)
    shape = ModelShape(
        weight_bytes=options.weights,
        block_count=options.layers or None,
        active_parameters=getattr(options, "parameters", None),
        kv=kv,
    )
    return GivenModel(shape, getattr(options, "hidden", None))


@dataclass(frozen=True, slots=True)
class GivenDevice:
    """Device of an estimate, or its bandwidth alone; ``note`` says where it is from."""

    device: Device | None
    memory: float | None = None
    note: str = ""


def given_device(
    options: argparse.Namespace, session: Session, hardware: Hardware, *, enough: float | None
) -> GivenDevice:
    """Return the device of ``--gpu``, or that of this machine where ``enough`` (a number given) is None.

    Raises :class:`BadInput`.
    """
    if options.gpu is not None:
        bandwidth = getattr(options, "bandwidth", None)
        device = _found(hardware, options.gpu, bandwidth)
        return GivenDevice(device, note=_other_memory(options.gpu, device))
    if enough is not None:
        return GivenDevice(None)
    try:
        document = session.client.get("/v1/gpus")
    except ControlError as error:
        raise BadInput(f"no GPU is named and the daemon names none ({error}): give --gpu NAME") from None
    gpus = document["gpus"]
    if not gpus:
        raise BadInput("the daemon knows no GPU of this machine: give --gpu NAME")
    first = gpus[0]
    others = f", the first of {len(gpus)}" if len(gpus) > 1 else ""
    device = _of_this_machine(first, hardware, simulated=bool(document.get("simulated")))
    return GivenDevice(
        device, first.get("memory_total_bytes"), f"{device.name}{others}, as the daemon names it"
    )


def _of_this_machine(gpu: Mapping[str, Any], hardware: Hardware, *, simulated: bool) -> Device:
    """Return the device that the daemon names; one that is not known here by what NVML says of its memory."""
    clock, width = gpu.get("memory_clock_max_hertz"), gpu.get("memory_bus_width_bits")
    by_nvml = 2 * clock * width / 8 if clock and width else None  # two transfers a cycle
    try:
        return hardware.find(str(gpu["name"]), by_nvml)
    except UnknownDevice as error:
        if simulated:
            raise BadInput("this machine's GPU is simulated: give --gpu NAME or --bandwidth") from None
        if by_nvml is None:
            raise BadInput(f"{error}; give --gpu NAME or --bandwidth") from None
        source = "NVML: 2 x memory clock x bus width"
        return Device(str(gpu["name"]), "", by_nvml, source, gpu.get("memory_total_bytes"))


def _found(hardware: Hardware, name: str, bandwidth: float | None) -> Device:
    try:
        return hardware.find(name, bandwidth)
    except UnknownDevice as error:
        raise BadInput(f"{error}; --gpu {LIST} names all, or give --bandwidth or --memory") from None


def _other_memory(name: str, device: Device) -> str:
    """Return a note where ``name`` states another memory than ``device`` has."""
    stated = size_of(name)
    if stated is None or device.memory is None or stated == round(device.memory / GIB):
        return ""
    return (
        f"{device.name} has {gib(device.memory)} here, not the {stated} GB of the name; its bandwidth counts"
    )
