"""Xid events: the meaning of NVIDIA's codes, the most likely cause of each, and a count of them (pure).

The facts are those of NVIDIA's "Xid Errors" catalogue and its table of causes, put in own words. A code may
have several causes; the class names the most likely one: ``application`` (the program that used the
GPU), ``driver`` (NVIDIA's driver or firmware), ``hardware`` (the card, its memory, its power, its slot).
A code that is not listed here is unknown, and no class is made up for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class XidClass(StrEnum):
    """Most likely cause of an Xid: the place to search first."""

    APPLICATION = "application"
    DRIVER = "driver"
    HARDWARE = "hardware"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Meaning:
    """Meaning of one code: ``text`` is a phrase without a full stop."""

    kind: XidClass
    text: str


_APPLICATION = {
    13: "the program's kernel made an illegal access or instruction (graphics engine exception)",
    31: "the program reached for memory that is not mapped (MMU fault)",
    32: "the program's stream of commands was invalid or corrupted",
    43: "the program made an error and was stopped; the GPU itself goes on",
    45: "the program ended, or was ended, while it had work on the GPU; often follows another Xid",
    68: "the video decoder met an exception, mostly on a broken stream",
    69: "the graphics engine met a command of the wrong class",
    137: "an access over NVLink was not allowed (MMU fault of the remote GPU)",
}
_DRIVER = {
    8: "the GPU stopped processing",
    11: "the stream of commands was invalid or corrupted",
    37: "the firmware met a command that it does not know",
    38: "the firmware did not answer in time",
    39: "a copy engine met an exception",
    40: "a copy engine met an exception",
    41: "a copy engine met an exception",
    44: "the graphics engine faulted while it switched contexts",
    46: "the GPU stopped processing and must be reset",
    60: "the security processor met an exception",
    62: "an internal controller of the GPU halted",
    66: "the driver made an illegal access",
    67: "the driver made an illegal access",
    78: "a virtual GPU could not start",
    80: "corrupted data was sent to the GPU",
    93: "the inforom's wear limit was reached, and it could not be written",
    106: "a test message of the management bus",
    107: "a test message of the management bus",
    109: "a context switch timed out",
    119: "the GPU's system processor (GSP) did not answer the driver in time",
    120: "the GPU's system processor (GSP) met an error",
    141: "a fast path of CUDA met an error",
    143: "the GPU could not be initialised",
    151: "the keys of confidential computing could not be renewed",
    154: "the driver tells what the GPU needs after another Xid: nothing, a drain, a reset or a reboot",
    155: "an NVLink went down, which may be on purpose",
    160: "a memory channel was retired",
    161: "a memory channel could not be retired",
}
_HARDWARE = {
    48: "memory had an error of two bits, which can't be corrected",
    54: "the board's auxiliary power is not connected",
    56: "the display engine met an error",
    57: "the memory's link could not be trained",
    58: "memory had an error",
    63: "a bad page or row of memory was replaced, or will be at the next reset",
    64: "a bad page or row of memory could not be replaced",
    74: "an NVLink had an error",
    79: "the GPU has fallen off the bus: it no longer answers",
    92: "memory had many errors of one bit in a short time",
    94: "an uncorrectable memory error was contained: only its own program is hit",
    95: "an uncorrectable memory error was not contained: every program on the GPU is hit",
    110: "a security fault, rare without failing hardware",
    121: "the link to the CPU (C2C) corrected an error",
    136: "a link could not be trained",
    140: "memory had an uncorrectable error that could not be set aside",
    144: "an NVLink had an error (SAW)",
    145: "an NVLink had an error (RLW)",
    146: "an NVLink had an error (TLW)",
    147: "an NVLink had an error (TREX)",
    148: "an NVLink had an error (NVLPW_CTRL)",
    149: "an NVLink had an error (NETIR)",
    150: "an NVLink had an error (MSE)",
    156: "a part of the GPU was set aside because of errors",
    157: "a part of the GPU could not be set aside: nothing is left to replace it",
    158: "the GPU timed out for good and must be reset",
    162: "power smoothing works again",
    163: "power smoothing was turned off",
    164: "the circuits for power smoothing are near the end of their life",
    165: "the circuits for power smoothing are at the end of their life",
    167: "PCI Express timed out for good",
    168: "memory that the GPU needs to start has errors, and less of it is used",
    169: "an internal controller of the GPU halted",
    171: "the uncorrectable error of Xid 48 was in DRAM",
    172: "the uncorrectable error of Xid 48 was in SRAM",
}
_ENGINES = {
    "a copy engine met an error": (70, 71, 72, 75, 76, 77, 85, *range(126, 136)),
    "a video encoder met an error": (47, 65, 73, 142),
    "a video decoder met an error": (83, 84, 88, 89, 96, 97, 98),
    "a JPEG engine met an error": (82, *range(99, 106)),
    "the optical flow engine met an error": (86, 139),
}
_DRIVER |= {code: text for text, codes in _ENGINES.items() for code in codes}
MEANINGS = MappingProxyType(
    {
        code: Meaning(kind, text)
        for kind, table in (
            (XidClass.APPLICATION, _APPLICATION),
            (XidClass.DRIVER, _DRIVER),
            (XidClass.HARDWARE, _HARDWARE),
        )
        for code, text in table.items()
    }
)
"""Every code that is known here."""

_UNKNOWN = Meaning(XidClass.UNKNOWN, "a code that is not known here; NVIDIA's Xid catalogue may list it")


def meaning(code: int) -> Meaning:
    """Return the meaning of ``code``."""
    return MEANINGS.get(code, _UNKNOWN)


@dataclass(frozen=True, slots=True)
class XidEvent:
    """One Xid of the GPU with ``uuid``, as the driver reported it."""

    uuid: str
    code: int


class XidLedger:
    """Counts of Xid events since the daemon's start, by GPU. Outlives the worker, and a GPU that is lost."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}
        self._fresh: list[XidEvent] = []

    def record(self, event: XidEvent) -> None:
        """Count ``event``."""
        counts = self._counts.setdefault(event.uuid, {})
        counts[event.code] = counts.get(event.code, 0) + 1
        self._fresh.append(event)

    def counts(self, uuid: str) -> tuple[tuple[int, int], ...]:
        """Return each code that the GPU had and how often, by code."""
        return tuple(sorted(self._counts.get(uuid, {}).items()))

    def uuids(self) -> tuple[str, ...]:
        """Return the GPUs that had any."""
        return tuple(self._counts)

    def take(self) -> tuple[XidEvent, ...]:
        """Return the events that were recorded since the last call."""
        fresh, self._fresh = tuple(self._fresh), []
        return fresh
