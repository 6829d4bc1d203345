"""Which figure of a reading is which metric (pure): its name after ``aiidpd_gpu_``, its field, its help."""

from __future__ import annotations

GAUGES = (
    ("temperature_celsius", "temperature_celsius", "Core temperature."),
    ("memory_temperature_celsius", "memory_temperature_celsius", "Memory temperature."),
    ("hotspot_temperature_celsius", "hotspot_temperature_celsius", "Temperature of the die's hottest part."),
    (
        "temperature_margin_celsius",
        "temperature_margin_celsius",
        "Degrees left by the card's own reckoning (T.Limit); falls as it heats.",
    ),
    ("max_temperature_celsius", "gpu_max_celsius", "Highest core temperature of normal operation."),
    ("slowdown_temperature_celsius", "slowdown_celsius", "Core temperature from which the driver throttles."),
    ("shutdown_temperature_celsius", "shutdown_celsius", "Core temperature at which the GPU shuts down."),
    (
        "memory_max_temperature_celsius",
        "memory_max_celsius",
        "Highest memory temperature of normal operation.",
    ),
    (
        "target_temperature_celsius",
        "target_celsius",
        "Core temperature that the card's fans and clocks keep to.",
    ),
    ("max_margin_celsius", "gpu_max_margin_celsius", "T.Limit margin at which normal operation ends."),
    ("slowdown_margin_celsius", "slowdown_margin_celsius", "T.Limit margin from which the driver throttles."),
    ("shutdown_margin_celsius", "shutdown_margin_celsius", "T.Limit margin at which the GPU shuts down."),
    (
        "memory_max_margin_celsius",
        "memory_max_margin_celsius",
        "T.Limit margin at which the memory's normal operation ends.",
    ),
    ("power_watts", "power_watts", "Power drawn by the whole board, over about a second on newer cards."),
    (
        "power_instant_watts",
        "power_instant_watts",
        "Power drawn by the whole board at the moment of reading.",
    ),
    ("power_limit_watts", "power_limit_watts", "Power limit that the driver enforces."),
    ("power_limit_set_watts", "power_limit_set_watts", "Power limit that was asked for."),
    ("power_limit_default_watts", "power_limit_default_watts", "Power limit that the card starts with."),
    ("power_limit_min_watts", "power_limit_min_watts", "Lowest power limit that can be set."),
    ("power_limit_max_watts", "power_limit_max_watts", "Highest power limit that can be set."),
    ("fan_speed_ratio", "fan_ratio", "Intended speed of the fastest fan; 1 is the full speed."),
    ("utilisation_ratio", "utilisation_ratio", "Share of time in which a kernel was running."),
    (
        "memory_controller_utilisation_ratio",
        "memory_controller_utilisation_ratio",
        "Share of time in which GPU memory was read or written.",
    ),
    ("memory_used_bytes", "memory_used_bytes", "GPU memory in use, with what the driver reserves."),
    ("memory_total_bytes", "memory_total_bytes", "GPU memory that the card has."),
    ("graphics_clock_hertz", "graphics_clock_hertz", "Present clock of the graphics domain."),
    ("sm_clock_hertz", "sm_clock_hertz", "Present clock of the streaming multiprocessors."),
    ("memory_clock_hertz", "memory_clock_hertz", "Present clock of the memory."),
    ("video_clock_hertz", "video_clock_hertz", "Present clock of the video engines."),
    ("graphics_clock_max_hertz", "graphics_clock_max_hertz", "Highest clock of the graphics domain."),
    ("memory_clock_max_hertz", "memory_clock_max_hertz", "Highest clock of the memory."),
    ("memory_bus_width_bytes", "memory_bus_width_bytes", "What the memory's bus carries in one transfer."),
    (
        "memory_bandwidth_theoretical_bytes_per_second",
        "theoretical_bandwidth_bytes_per_second",
        "The most that the memory can carry: two transfers a cycle of its highest clock, over its bus.",
    ),
    ("pcie_link_generation", "pcie_generation", "Present generation of the PCI Express link; falls at rest."),
    ("pcie_link_generation_max", "pcie_generation_max", "Highest generation of the PCI Express link."),
    ("pcie_link_width_lanes", "pcie_width_lanes", "Present width of the PCI Express link."),
    ("pcie_link_width_max_lanes", "pcie_width_max_lanes", "Greatest width of the PCI Express link."),
    (
        "pcie_transmit_bytes_per_second",
        "pcie_transmit_bytes_per_second",
        "What the GPU sent over PCI Express, measured for 20 ms.",
    ),
    (
        "pcie_receive_bytes_per_second",
        "pcie_receive_bytes_per_second",
        "What the GPU received over PCI Express, measured for 20 ms.",
    ),
    (
        "retired_pages_corrected",
        "retired_pages_corrected_count",
        "Memory pages retired for errors of one bit, in the card's life.",
    ),
    (
        "retired_pages_uncorrected",
        "retired_pages_uncorrected_count",
        "Memory pages retired for errors of two bits, in the card's life.",
    ),
    (
        "remapped_rows_corrected",
        "remapped_rows_corrected_count",
        "Memory rows replaced for errors that were corrected, in the card's life.",
    ),
    (
        "remapped_rows_uncorrected",
        "remapped_rows_uncorrected_count",
        "Memory rows replaced for errors that were not corrected, in the card's life.",
    ),
    (
        "ecc_aggregate_corrected_errors",
        "ecc_aggregate_corrected_count",
        "Memory errors that were corrected, in the card's life.",
    ),
    (
        "ecc_aggregate_uncorrected_errors",
        "ecc_aggregate_uncorrected_count",
        "Memory errors that were not corrected, in the card's life.",
    ),
)

COUNTERS = (
    ("card_energy_joules", "energy_joules", "Energy drawn since the driver was loaded."),
    ("pcie_replays", "pcie_replay_count", "Transfers over PCI Express that had to be repeated."),
    ("ecc_corrected_errors", "ecc_corrected_count", "Memory errors corrected since the driver was loaded."),
    (
        "ecc_uncorrected_errors",
        "ecc_uncorrected_count",
        "Memory errors that could not be corrected since the driver was loaded.",
    ),
)

FLAGS = (
    ("ecc_enabled", "ecc_enabled", "Whether memory errors are corrected (1)."),
    ("mig_enabled", "mig_enabled", "Whether the GPU is divided (1)."),
    ("retired_pages_pending", "retired_pages_pending", "Whether pages wait for a reset to be retired (1)."),
    ("remapped_rows_pending", "remapped_rows_pending", "Whether rows wait for a reset to be replaced (1)."),
    ("remapped_rows_failed", "remapped_rows_failed", "Whether a row could not be replaced (1)."),
)

THROTTLE_SECONDS = (
    ("sw_power_cap", "power_cap_throttle_seconds"),
    ("sync_boost", "sync_boost_throttle_seconds"),
    ("sw_thermal_slowdown", "sw_thermal_throttle_seconds"),
    ("hw_thermal_slowdown", "hw_thermal_throttle_seconds"),
    ("hw_power_brake_slowdown", "hw_power_brake_throttle_seconds"),
)
"""The reasons for which the driver adds up the time, by the name of the clock event."""
