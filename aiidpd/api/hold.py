"""Letting go of the NVIDIA driver, for an upgrade, and taking hold of it again."""

from __future__ import annotations

import math
from typing import Protocol

from pydantic import Field

from aiidpd.api.document import Document, Question
from aiidpd.kernel.errors import Unavailable

FREE_WITHIN = 8.0
"""A reading may be on its way, and a child may have to be killed."""


class DriverHold(Protocol):
    """Who keeps whether the daemon may hold the GPUs."""

    @property
    def seconds_left(self) -> float | None:
        """How long a release still lasts: infinity until resumed, None where there is none."""

    def release(self, seconds: float = math.inf) -> None:
        """Have the daemon keep off the GPUs for ``seconds``."""

    def resume(self) -> None:
        """Have it take hold of them again."""

    async def wait_free(self, seconds: float) -> bool:
        """Wait until nothing of the daemon holds the driver; return whether that came about."""


class ReleaseRequest(Question):
    """For how long."""

    seconds: float | None = Field(
        None, gt=0, le=86_400, description="After so many seconds it resumes by itself; without it, never."
    )


class HoldDocument(Document):
    """Whether the daemon keeps off the GPUs."""

    released: bool
    seconds_left: float | None = Field(description="When it resumes by itself; null where it does not.")


def document(hold: DriverHold) -> HoldDocument:
    """Return how ``hold`` stands."""
    left = hold.seconds_left
    return HoldDocument(
        released=left is not None, seconds_left=left if left and math.isfinite(left) else None
    )


async def release(hold: DriverHold, request: ReleaseRequest) -> HoldDocument:
    """Let go of the driver, and wait until it is free.

    Raises:
        Unavailable: it is not free yet. The release stands all the same.
    """
    hold.release(math.inf if request.seconds is None else request.seconds)
    if not await hold.wait_free(FREE_WITHIN):
        raise Unavailable(
            "release",
            "the GPUs",
            reason=f"the driver was not free after {FREE_WITHIN:g} s",
            remedy="`aiidpctl status` says what holds it; `aiidpctl gpu resume` starts readings again",
        )
    return document(hold)
