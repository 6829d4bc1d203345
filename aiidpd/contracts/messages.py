"""Messages between components (pure): what one requests of another. The reason is a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
