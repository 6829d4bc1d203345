"""Reading: a value and when it was read (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """A value and when it was read: ``at`` in Unix seconds, ``read`` in monotonic seconds."""

    value: T
    at: float
    read: float
