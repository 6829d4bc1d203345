"""Devices with their bandwidth, memory and compute, and names matched leniently (pure)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiidpd.physics.device_names import SIZE, cores_of, makes_another, near, readings, size_of, words
from aiidpd.physics.efficiency import GENERAL, Efficiency
from aiidpd.physics.units import GB, GIB

_TERA: Final = 10**12
_PRECISIONS: Final = ("fp32", "fp16", "fp8", "int8", "fp4")
_ROWS_LIMIT: Final = 2000
_SHOWN: Final = 10


class UnknownDevice(LookupError):
    """No device, or more than one, has a name; ``near`` are those that it may mean, if any."""

    def __init__(self, name: str, near: tuple[str, ...], *, several: bool) -> None:
        self.near = near
        what = "means more than one device" if several else "is no device that is known here"
        shown = ", ".join(near[:_SHOWN]) + (f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else "")
        hint = f"near it: {shown}" if near else "and none has a name like it"
        super().__init__(f"{name[:100]!r} {what}; {hint}")


@dataclass(frozen=True, slots=True)
class Device:
    """One device by its vendor's figures: bytes, bytes a second, operations a second by precision."""

    name: str
    family: str
    bandwidth: float
    source: str
    memory: float | None = None
    flops: Mapping[str, float] = field(default_factory=dict)
    cores: int | None = None

    def flops_at(self, precision: str) -> float | None:
        """Return the operations a second at ``precision``; at a wider one where it is not stated."""
        wider = {"fp4": "fp8", "fp8": "fp16", "int8": "fp16", "fp16": "fp32"}
        known = self.flops.get(precision)
        return known if known is not None or precision not in wider else self.flops_at(wider[precision])


@dataclass(frozen=True, slots=True)
class Hardware:
    """Every known device, and the constants of families."""

    devices: tuple[Device, ...]
    families: Mapping[str, Efficiency]

    def efficiency(self, device: Device) -> Efficiency:
        """Return the constants of the family of ``device``, the general ones where it has none."""
        return self.families.get(device.family, GENERAL)

    def find(self, name: str, bandwidth: float | None = None) -> Device:
        """Return the device that ``name`` means; raises :class:`UnknownDevice`.

        Vendors and series may be left out and words may follow, but a word that makes another device of one
        (Ti, Super, Laptop) counts. Memory and cores decide between devices that are else called the same, and
        then ``bandwidth`` where that is known.
        """
        held = [(device, words(device.name)) for device in self.devices]
        found: list[Device] = []
        for given in readings(name):
            within = [
                (device, own) for device, own in held if own <= given and not makes_another(given - own)
            ]
            most = max((len(own) for _, own in within), default=0)
            found += [device for device, own in within if len(own) == most and most]
        given = words(name)
        if not found:
            found = [device for device, own in held if given and given <= own]
        found = _narrowed(found, name)
        if len(found) == 1 or (found and len({(d.bandwidth, d.family) for d in found}) == 1):
            return found[0]
        if found and bandwidth is not None:
            return min(found, key=lambda device: abs(device.bandwidth - bandwidth))
        like = tuple(device.name for device in found) or near(name, [device.name for device in self.devices])
        raise UnknownDevice(name, like, several=bool(found))


def parse_hardware(text: str) -> Hardware:
    """Return the devices of a ``hardware.toml``; raises ValueError where it is not one."""
    document = tomllib.loads(text)
    rows = document.get("devices", [])
    families = document.get("families", {})
    if not isinstance(rows, list) or len(rows) > _ROWS_LIMIT or not isinstance(families, dict):
        raise ValueError("it has no list of devices")
    return Hardware(
        tuple(_device(row) for row in rows),
        {name: _family(table) for name, table in families.items()},
    )


def _device(row: Mapping[str, Any]) -> Device:
    try:
        return Device(
            name=str(row["name"]),
            family=str(row["family"]),
            bandwidth=float(row["bandwidth_gb_s"]) * GB,
            source=str(row["source"]),
            memory=float(row["memory_gib"]) * GIB if "memory_gib" in row else None,
            flops={each: row[f"{each}_tflops"] * _TERA for each in _PRECISIONS if f"{each}_tflops" in row},
            cores=row.get("cores"),
        )
    except KeyError as error:
        raise ValueError(f"a device has no {error}") from None


def _family(table: Mapping[str, Any]) -> Efficiency:
    return Efficiency(
        share=float(table["share"]),
        overhead_seconds=float(table["overhead_ms"]) / 1000,
        source=str(table["source"]),
    )


def _narrowed(devices: Iterable[Device], name: str) -> list[Device]:
    """Return those of ``devices`` that have the memory and cores that ``name`` states, if any has."""
    found = list(devices)
    size, cores = size_of(name), cores_of(name)
    if size is not None:
        same = [device for device in found if device.memory and round(device.memory / GIB) == size]
        found = same or found
    if cores is not None:
        same = [device for device in found if device.cores == cores]
        found = same or found
    if size is None and len(found) > 1:  # the plain name is that of the first one
        plain = [device for device in found if not SIZE.search(device.name.lower())]
        found = plain or found
    return found
