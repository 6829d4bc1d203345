"""Devices with their bandwidth, memory and compute, and names matched leniently (pure)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, Final

from aiidpd.physics.efficiency import GENERAL, Efficiency
from aiidpd.physics.units import GB, GIB

_TERA: Final = 10**12
_PRECISIONS: Final = ("fp32", "fp16", "fp8", "int8", "fp4")
_ROWS_LIMIT: Final = 2000
_NEAR: Final = 5

# fmt: off
_NOISE: Final = frozenset((
    "nvidia", "geforce", "rtx", "gtx", "tesla", "quadro", "amd", "radeon", "rx", "instinct", "apple", "intel",
    "arc", "graphics", "gpu", "mac", "studio", "mini", "macbook", "imac", "air", "generation", "edition",
    "core", "cores", "cu", "desktop", "rocm", "vulkan", "cuda", "metal", "oc", "the",
))
_ALIASES: Final = {"mobile": "laptop", "hbm3": "sxm5", "hbm2": "", "hbm2e": "", "spark": "gb10"}
_TELLING: Final = frozenset((
    "ti", "super", "max", "ultra", "pro", "laptop", "xt", "xtx", "gre", "d", "sxm", "sxm2", "sxm4", "sxm5",
    "pcie", "nvl", "ada", "blackwell", "x",
))
# fmt: on
"""Words that make another device of one: a name that has one is no device without it."""
_TOKEN: Final = re.compile(r"[a-z]+\d+[a-z]*|\d+[a-z]*|[a-z]+", re.ASCII)
_SIZE: Final = re.compile(r"(\d+)\s*gi?b\b", re.ASCII)
_CORES: Final = re.compile(r"(\d+)\s*[-\u2010\u2011]?\s*(?:cores?|cu)\b")


_GLUED: Final = re.compile(r"\b(?:rtx|gtx|rx|arc)(?=\d)|\b\d{4}(?=(?:ti|super|xtx?|gre|d)\b)", re.ASCII)


class UnknownDevice(LookupError):
    """No device, or more than one, has a name; ``near`` are those that it may mean."""

    def __init__(self, name: str, near: tuple[str, ...], *, several: bool) -> None:
        self.near = near
        what = "means more than one device" if several else "is no device that is known here"
        super().__init__(f"{name!r} {what}; near it: {', '.join(near)}")


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
        words = _words(name)
        held = [(device, _words(device.name)) for device in self.devices]
        within = [(device, own) for device, own in held if own <= words and not (words - own) & _TELLING]
        most = max((len(own) for _, own in within), default=0)
        found = [device for device, own in within if len(own) == most and most]
        if not found:
            found = [device for device, own in held if words and words <= own]
        found = _narrowed(found, name)
        if len(found) == 1 or (found and len({(d.bandwidth, d.family) for d in found}) == 1):
            return found[0]
        if found and bandwidth is not None:
            return min(found, key=lambda device: abs(device.bandwidth - bandwidth))
        near = tuple(device.name for device in found) or self._near(name)
        raise UnknownDevice(name[:100], near[: 2 * _NEAR], several=bool(found))

    def _near(self, name: str) -> tuple[str, ...]:
        given = " ".join(sorted(_words(name))) or name.lower()
        by = {
            device.name: SequenceMatcher(None, given, " ".join(sorted(_words(device.name)))).ratio()
            for device in self.devices
        }
        return tuple(sorted(by, key=lambda each: (-by[each], each))[:_NEAR])


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


def _words(name: str) -> frozenset[str]:
    lower = name.lower().replace("macbook pro", "").replace("(r)", " ").replace("(tm)", " ")
    lower = _GLUED.sub(r"\g<0> ", _CORES.sub(" ", _SIZE.sub(" ", lower)))
    tokens = (_ALIASES.get(token, token) for token in _TOKEN.findall(lower))
    return frozenset(token for token in tokens if token) - _NOISE


def _narrowed(devices: Iterable[Device], name: str) -> list[Device]:
    """Return those of ``devices`` that have the memory and cores that ``name`` states, if any has."""
    found = list(devices)
    if size := _SIZE.search(name.lower()):
        same = [device for device in found if device.memory and round(device.memory / GIB) == int(size[1])]
        found = same or found
    if cores := _CORES.search(name.lower()):
        same = [device for device in found if device.cores == int(cores[1])]
        found = same or found
    if not size and len(found) > 1:  # the plain name is that of the first one
        plain = [device for device in found if not _SIZE.search(device.name.lower())]
        found = plain or found
    return found
