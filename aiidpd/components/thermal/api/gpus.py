"""Last reading of each GPU over the API, and the release of the driver for an upgrade."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from aiidpd.api.access import Access
from aiidpd.api.document import NoOptions, Request, SnapshotResponse, bounded, current
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus

FREE_WITHIN: Final = 8.0
"""Seconds: a reading may be on its way, and a child may have to be killed."""


@dataclass(frozen=True, slots=True)
class GpusDocument(SnapshotResponse):
    """Every GPU that could be read."""

    driver_version: str = ""
    gpus: tuple[GpuReading, ...] = ()
    faults: tuple[GpuFault, ...] = ()
    xids: tuple[XidEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseRequest(Request):
    """For how long."""

    seconds: Annotated[float | None, bounded(gt=0, le=86_400)] = None
    """After so many seconds it resumes by itself; without it, never."""


@dataclass(frozen=True, slots=True)
class HoldDocument:
    """Release of the driver: while it is in force, no GPU is read."""

    released: bool
    seconds_left: float | None
    """Time until it resumes by itself; null where it does not."""


def routes(
    latest: Latest[GpuSnapshot], maintenance: DriverMaintenance, status: Callable[[], WorkerStatus]
) -> tuple[Route, ...]:
    """Return the routes of the GPUs."""

    async def gpus(_call: Call) -> Answer:
        return current(GpusDocument, latest.get(), status())

    async def post_release(call: Call) -> Answer:
        return await release(maintenance, call.body)

    async def post_resume(_call: Call) -> Answer:
        maintenance.resume()
        return maintenance_document(maintenance)

    return (
        Route("GET", "/v1/gpus", Access.READ, gpus, "The last reading of each GPU.", GpusDocument),
        Route(
            "POST",
            "/v1/gpus/release",
            Access.CHANGE,
            post_release,
            "Release the NVIDIA driver, so that it can be upgraded; answers once it is free.",
            HoldDocument,
            body=ReleaseRequest,
        ),
        Route(
            "POST",
            "/v1/gpus/resume",
            Access.CHANGE,
            post_resume,
            "Use the NVIDIA driver again.",
            HoldDocument,
            body=NoOptions,
        ),
    )


def maintenance_document(maintenance: DriverMaintenance) -> HoldDocument:
    """Return whether the driver is released, and for how long."""
    left = maintenance.seconds_left
    return HoldDocument(
        released=left is not None, seconds_left=left if left and math.isfinite(left) else None
    )


async def release(maintenance: DriverMaintenance, request: ReleaseRequest) -> HoldDocument:
    """Release the driver, and wait until it is free.

    Raises:
        Unavailable: it is not free yet. The release is in force all the same.
    """
    maintenance.release(math.inf if request.seconds is None else request.seconds)
    if not await maintenance.wait_free(FREE_WITHIN):
        raise Unavailable(
            "release",
            "the GPUs",
            reason=f"the driver was not free after {FREE_WITHIN:g} s",
            remedy="`aiidpctl status` says what holds it; `aiidpctl gpu resume` starts readings again",
        )
    return maintenance_document(maintenance)
