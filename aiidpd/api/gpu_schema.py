"""The documents of GPU readings."""

from __future__ import annotations

from aiidpd.api.document import Document, Reading


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


class GpusDocument(Reading):
    """Every GPU that could be read."""

    driver_version: str = ""
    gpus: tuple[GpuDocument, ...] = ()
    faults: tuple[GpuFaultDocument, ...] = ()
    xids: tuple[XidEventDocument, ...] = ()
