"""Hops over a network, and GPUs that share each layer: a token's time on the way (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ACTIVATION_BYTES: Final = 4
"""llama.cpp's RPC sends hidden states as 32 bit numbers."""
SOFTWARE_SECONDS: Final = 1.6e-3
"""Round trip of llama.cpp's RPC over TCP, without the wire; docs/physics.md has the published runs."""
_BUS_SECONDS: Final = 10e-6  # a copy that a driver starts, and its end noticed


@dataclass(frozen=True, slots=True)
class Link:
    """A connection: bytes a second that data gets at most, and seconds of one way of a small message.

    ``software_seconds`` is what serialising, sockets and waking up take in a round trip in practice: no limit
    of physics, and the larger part.
    """

    name: str
    bandwidth: float
    one_way_seconds: float
    software_seconds: float
    source: str


_FRAMES: Final = 1448 / 1538  # bytes of a full Ethernet frame and its gap that are data of TCP
_ROWS: Final = (
    ("ethernet-1g", 1e9 / 8 * _FRAMES, 25e-6, SOFTWARE_SECONDS, "IEEE 802.3, 1 Gbit/s"),
    ("ethernet-2.5g", 2.5e9 / 8 * _FRAMES, 20e-6, SOFTWARE_SECONDS, "IEEE 802.3bz, 2.5 Gbit/s"),
    ("ethernet-10g", 10e9 / 8 * _FRAMES, 10e-6, SOFTWARE_SECONDS, "IEEE 802.3ae, 10 Gbit/s"),
    ("ethernet-25g", 25e9 / 8 * _FRAMES, 5e-6, SOFTWARE_SECONDS, "IEEE 802.3by, 25 Gbit/s"),
    ("ethernet-100g", 100e9 / 8 * _FRAMES, 3e-6, SOFTWARE_SECONDS, "IEEE 802.3, 100 Gbit/s"),
    ("usb4", 40e9 / 8 * 128 / 132, 20e-6, SOFTWARE_SECONDS, "USB4 Gen 3x2: 2 x 20 Gbit/s x 128/132"),
    ("usb4-v2", 80e9 / 8, 20e-6, SOFTWARE_SECONDS, "USB4 version 2: 80 Gbit/s"),
    ("pcie3-x16", 16 * 8e9 / 8 * 128 / 130, 1e-6, _BUS_SECONDS, "PCIe 3.0: 8 GT/s x 16 x 128/130"),
    ("pcie4-x16", 16 * 16e9 / 8 * 128 / 130, 1e-6, _BUS_SECONDS, "PCIe 4.0: 16 GT/s x 16 x 128/130"),
    ("pcie5-x16", 16 * 32e9 / 8 * 128 / 130, 1e-6, _BUS_SECONDS, "PCIe 5.0: 32 GT/s x 16 x 128/130"),
    ("nvlink3", 12 * 25e9, 1e-6, _BUS_SECONDS, "NVLink 3: 12 links of 25 GB/s a direction"),
    ("nvlink4", 18 * 25e9, 1e-6, _BUS_SECONDS, "NVLink 4: 18 links of 25 GB/s a direction"),
)
LINKS: Final[Mapping[str, Link]] = {row[0]: Link(*row) for row in _ROWS}


@dataclass(frozen=True, slots=True)
class Hop:
    """Time that one token spends on one hop, there and back."""

    least_seconds: float
    expected_seconds: float


def hop(link: Link, hidden: int, tokens: int = 1) -> Hop:
    """Return the time of a round trip with the hidden states of ``tokens``, ``hidden`` numbers wide.

    They go to the other machine and come back, and each way takes its latency.
    """
    payload = tokens * hidden * ACTIVATION_BYTES
    least = 2 * (link.one_way_seconds + payload / link.bandwidth)
    return Hop(least, least + link.software_seconds)


def with_hops(step_seconds: float, hops: int, each_seconds: float) -> float:
    """Return the tokens a second of a step that crosses ``hops`` links one after the other."""
    return 1 / (step_seconds + hops * each_seconds)


@dataclass(frozen=True, slots=True)
class Sums:
    """Time of a step that GPUs spend on summing what each has of every block."""

    least_seconds: float
    expected_seconds: float


def tensor_parallel_sums(link: Link, gpus: int, *, hidden: int, blocks: int, batch: int = 1) -> Sums:
    """Return the time of the sums of a step that ``gpus`` share: two a block, of a hidden state of 16 bits.

    A ring sums in 2 (n - 1) messages of a part of it each; their latencies add up.
    """
    if gpus < 1:
        raise ValueError("there is one GPU at least")
    part = batch * hidden * 2 / gpus
    messages = 2 * blocks * 2 * (gpus - 1)
    least = messages * (link.one_way_seconds + part / link.bandwidth)
    software = 2 * blocks * link.software_seconds if gpus > 1 else 0.0
    return Sums(least, least + software)
