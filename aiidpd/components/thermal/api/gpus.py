"""The last reading of each GPU over the API, and the release of the driver for an upgrade."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from pydantic import Field

from aiidpd.api.access import Access
from aiidpd.api.document import Document, NoOptions, Request, SnapshotResponse, current
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus

FREE_WITHIN: Final = 8.0
"""Seconds: a reading may be on its way, and a child may have to be killed."""


class FanDocument(Document):
    """One fan of a GPU."""

    index: int
    speed_ratio: float | None
    speed_rpm: float | None


class GpuProcessDocument(Document):
    """A process that uses a GPU."""

    pid: int
    kind: str
    name: str
    used_memory_bytes: float | None
    container_id: str | None


class MigInstanceDocument(Document):
    """A part of a GPU that is divided (MIG)."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    memory_used_bytes: float | None
    memory_total_bytes: float | None


class XidCountDocument(Document):
    """How often the driver reported one kind of fault (Xid)."""

    code: int
    count: int


class GpuDocument(Document):
    """One GPU. Units are in the names, and null is "this card or driver does not say".

    What has "margin" in its name is in degrees left to a limit: an offset, never a temperature.
    """

    index: int
    uuid: str
    name: str
    temperature_celsius: float | None
    memory_temperature_celsius: float | None
    hotspot_temperature_celsius: float | None
    temperature_margin_celsius: float | None
    gpu_max_celsius: float | None
    slowdown_celsius: float | None
    shutdown_celsius: float | None
    memory_max_celsius: float | None
    target_celsius: float | None
    gpu_max_margin_celsius: float | None
    slowdown_margin_celsius: float | None
    shutdown_margin_celsius: float | None
    memory_max_margin_celsius: float | None
    power_watts: float | None
    power_instant_watts: float | None
    power_limit_watts: float | None
    power_limit_set_watts: float | None
    power_limit_default_watts: float | None
    power_limit_min_watts: float | None
    power_limit_max_watts: float | None
    energy_joules: float | None
    fan_ratio: float | None
    utilisation_ratio: float | None
    memory_controller_utilisation_ratio: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    graphics_clock_hertz: float | None
    sm_clock_hertz: float | None
    memory_clock_hertz: float | None
    video_clock_hertz: float | None
    graphics_clock_max_hertz: float | None
    memory_clock_max_hertz: float | None
    memory_bus_width_bits: float | None
    power_cap_throttle_seconds: float | None
    sync_boost_throttle_seconds: float | None
    sw_thermal_throttle_seconds: float | None
    hw_thermal_throttle_seconds: float | None
    hw_power_brake_throttle_seconds: float | None
    pcie_generation: float | None
    pcie_generation_max: float | None
    pcie_width_lanes: float | None
    pcie_width_max_lanes: float | None
    pcie_replay_count: float | None
    pcie_transmit_bytes_per_second: float | None
    pcie_receive_bytes_per_second: float | None
    ecc_corrected_count: float | None
    ecc_uncorrected_count: float | None
    ecc_aggregate_corrected_count: float | None
    ecc_aggregate_uncorrected_count: float | None
    retired_pages_corrected_count: float | None
    retired_pages_uncorrected_count: float | None
    remapped_rows_corrected_count: float | None
    remapped_rows_uncorrected_count: float | None
    retired_pages_pending: bool | None
    remapped_rows_pending: bool | None
    remapped_rows_failed: bool | None
    ecc_enabled: bool | None
    mig_enabled: bool | None
    clock_event_bits: int | None
    clock_events: list[str] | None
    fans: list[FanDocument]
    xids: list[XidCountDocument] | None
    processes: list[GpuProcessDocument] | None
    mig_instances: list[MigInstanceDocument]


class GpuFaultDocument(Document):
    """A driver call that failed, on one GPU or (index null) on the driver as a whole."""

    index: int | None
    call: str
    code: int | None
    name: str


class XidEventDocument(Document):
    """A fault (Xid) that the driver reported since the reading before, of the GPU with ``uuid``."""

    uuid: str
    code: int


class GpusDocument(SnapshotResponse):
    """Every GPU that could be read."""

    driver_version: str = ""
    gpus: tuple[GpuDocument, ...] = ()
    faults: tuple[GpuFaultDocument, ...] = ()
    xids: tuple[XidEventDocument, ...] = ()


class ReleaseRequest(Request):
    """For how long."""

    seconds: float | None = Field(
        None, gt=0, le=86_400, description="After so many seconds it resumes by itself; without it, never."
    )


class HoldDocument(Document):
    """Whether the daemon keeps off the GPUs."""

    released: bool
    seconds_left: float | None = Field(description="When it resumes by itself; null where it does not.")


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
            "Let go of the NVIDIA driver, so that it can be upgraded; answers once it is free.",
            HoldDocument,
            body=ReleaseRequest,
        ),
        Route(
            "POST",
            "/v1/gpus/resume",
            Access.CHANGE,
            post_resume,
            "Take hold of the NVIDIA driver again.",
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
