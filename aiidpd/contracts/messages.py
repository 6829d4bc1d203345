"""Messages between components (pure): what one requests of another. The reason is a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiidpd.kernel.events import Scalar
from aiidpd.kernel.messages import Message

LONGEST_HOLD: Final = 3600.0
"""Seconds: no request to back off holds longer, for whoever sent it may be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyStop(Message):
    """A GPU is critically hot for good: stop ``containers``. ``gpu`` is its UUID."""

    gpu: str
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOffMessage(Message):
    """Base of the messages about leaving a GPU alone. ``gpu`` is its UUID."""

    gpu: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOffRequested(BackOffMessage):
    """Leave the GPU alone for ``hold_seconds`` or until that is taken back; pause ``containers`` meanwhile.

    ``label`` is how people call the GPU, such as ``GPU 0``.
    """

    label: str
    hold_seconds: float
    containers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOffEnded(BackOffMessage):
    """A GPU that may be used again."""


class Cure(StrEnum):
    """Act that ends a fault of a container."""

    RESTART = "restart"
    RECREATE = "recreate"  # what it was given at its creation (a GPU) is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class HealRequested(Message):
    """A container whose processes do not do their work: ``cure`` would end that.

    Sent again and again while the fault is observed, and forgotten ``hold_seconds`` after the last: so it
    need not be taken back. ``container`` is the full id, ``name`` for people, ``fault`` one of the types of
    conditions (``engine_hung``). ``evidence`` goes into the incident and the events.
    """

    container: str
    name: str
    fault: str
    cure: Cure
    hold_seconds: float
    evidence: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
