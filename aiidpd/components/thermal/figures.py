"""Table of figures (pure): a row for each field of a GPU's reading, and every list derived from it.

A row says under which name Prometheus sees the field, within which bounds a value can be true, and who
stores it: incidents, curves, the line a minute. The control API shows each field under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

Bounds: TypeAlias = tuple[float, float]
"""Least and greatest value that can be true."""

# Far beyond any card, short of any 2 ** 32. A temperature lies above zero: a GPU that runs is warmer than
# that, and zero is what a sensor that is not there gives. A margin is an offset and may be negative.
_CELSIUS = (0.1, 150.0)
_MARGIN = (-150.0, 150.0)
_WATTS = (0.0, 10_000.0)
_JOULES = (0.0, 1e13)
_RATIO = (0.0, 1.0)
_FAN_RATIO = (0.0, 3.0)  # NVML allows more than 100 %
_BYTES = (0.0, 2.0**50)
_BYTES_PER_SECOND = (0.0, 1e13)
_HERTZ = (0.0, 2e10)
_BITS = (0.0, 65_536.0)
_SECONDS = (0.0, 1e10)
_GENERATION = (0.0, 16.0)
_LANES = (0.0, 64.0)
_COUNT = (0.0, 2.0**63)
_COUNT_32_BITS = (0.0, 2.0**32 - 2)  # the highest value is NVML's "not known"

_GPU = ("gpu", "uuid")
_INFO = (*_GPU, "name", "driver_version", "simulated")
_THROTTLED = "throttled_seconds"


class Kind(StrEnum):
    """Type of a metric for Prometheus."""

    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"


class Sampling(StrEnum):
    """Occasion on which a field becomes a point of the history's series of that name."""

    EACH_READING = "each reading"  # but fast ones: a curve with a point in each interval
    ON_CHANGE = "on change"  # and once a minute: the value holds until the next sample


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a field: ``name`` follows ``aiidpd_gpu_``.

    ``value`` is the attribute of the reading that it shows, the field or a property made of it; it is empty
    where each part of the field has a series of its own.
    ``label_values`` are those of the labels that come after gpu and uuid, where the row fixes them.
    """

    name: str
    help: str
    kind: Kind = Kind.GAUGE
    labels: tuple[str, ...] = _GPU
    value: str = ""
    label_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """Row of one field.

    ``bounds`` belong to a number: a value outside of them is dropped where it is read, with a fault.
    ``recorded``: a column of an incident's readings. ``minute``: the field's place in the line a minute,
    which has its least, mean and greatest value. ``flag``: either so or not so.
    """

    field: str
    metrics: tuple[Metric, ...] = ()
    bounds: Bounds | None = None
    flag: bool = False
    recorded: bool = False
    sampled: Sampling | None = None
    minute: int | None = None


def _number(field: str, bounds: Bounds, text: str, name: str = "", *, kind: Kind = Kind.GAUGE) -> Figure:
    return Figure(field, (Metric(name or field, text, kind, value=field),), bounds)


def _curve(field: str, bounds: Bounds, text: str, *, name: str = "", minute: int | None = None) -> Figure:
    """Return the row of a number that incidents and the history store at full rate."""
    return replace(_recorded(field, bounds, text, name=name), sampled=Sampling.EACH_READING, minute=minute)


def _recorded(field: str, bounds: Bounds, text: str, *, name: str = "") -> Figure:
    return replace(_number(field, bounds, text, name=name), recorded=True)


def _flag(field: str, text: str) -> Figure:
    return Figure(field, (Metric(field, text, value=field),), flag=True)


def _throttling(field: str, reason: str) -> Figure:
    """Return the row of the driver's own clock of throttling for ``reason``, the name of its clock event."""
    text = "Time for which this reason held the clocks down, since the driver was loaded."
    labels = (*_GPU, "reason")
    metric = Metric(_THROTTLED, text, Kind.COUNTER, labels, value=field, label_values=(reason,))
    return Figure(field, (metric,), _SECONDS)


def _parts(field: str, *labels: str, **metrics: str) -> Figure:
    """Return the row of a field with parts, distinguished by ``labels``; ``metrics`` has the help by name."""
    every = (*_GPU, *labels)
    return Figure(field, tuple(Metric(name, text, labels=every) for name, text in metrics.items()))


FIGURES: Final = (
    _curve("temperature_celsius", _CELSIUS, "Core temperature.", minute=1),
    _recorded("memory_temperature_celsius", _CELSIUS, "Memory temperature."),
    _recorded("hotspot_temperature_celsius", _CELSIUS, "Temperature of the die's hottest part."),
    _recorded(
        "temperature_margin_celsius",
        _MARGIN,
        "Degrees left by the card's own reckoning (T.Limit); falls as it heats.",
    ),
    _number(
        "gpu_max_celsius",
        _CELSIUS,
        "Highest core temperature of normal operation.",
        "max_temperature_celsius",
    ),
    _number(
        "slowdown_celsius",
        _CELSIUS,
        "Core temperature from which the driver throttles.",
        "slowdown_temperature_celsius",
    ),
    _number(
        "shutdown_celsius",
        _CELSIUS,
        "Core temperature at which the GPU shuts down.",
        "shutdown_temperature_celsius",
    ),
    _number(
        "memory_max_celsius",
        _CELSIUS,
        "Highest memory temperature of normal operation.",
        "memory_max_temperature_celsius",
    ),
    _number(
        "target_celsius",
        _CELSIUS,
        "Core temperature that the card's fans and clocks keep to.",
        "target_temperature_celsius",
    ),
    _number(
        "gpu_max_margin_celsius",
        _MARGIN,
        "T.Limit margin at which normal operation ends.",
        "max_margin_celsius",
    ),
    _number("slowdown_margin_celsius", _MARGIN, "T.Limit margin from which the driver throttles."),
    _number("shutdown_margin_celsius", _MARGIN, "T.Limit margin at which the GPU shuts down."),
    _number(
        "memory_max_margin_celsius", _MARGIN, "T.Limit margin at which the memory's normal operation ends."
    ),
    _curve(
        "power_watts", _WATTS, "Power drawn by the whole board, over about a second on newer cards.", minute=2
    ),
    _recorded("power_instant_watts", _WATTS, "Power drawn by the whole board at the moment of reading."),
    _recorded("power_limit_watts", _WATTS, "Power limit that the driver enforces."),
    _number("power_limit_set_watts", _WATTS, "Power limit that was set."),
    _number("power_limit_default_watts", _WATTS, "Power limit that the card starts with."),
    _number("power_limit_min_watts", _WATTS, "Lowest power limit that can be set."),
    _number("power_limit_max_watts", _WATTS, "Highest power limit that can be set."),
    _curve(
        "fan_ratio",
        _FAN_RATIO,
        "Intended speed of the fastest fan; 1 is the full speed.",
        name="fan_speed_ratio",
        minute=5,
    ),
    _curve("utilisation_ratio", _RATIO, "Share of time in which a kernel was running.", minute=3),
    _recorded(
        "memory_controller_utilisation_ratio",
        _RATIO,
        "Share of time in which GPU memory was read or written.",
    ),
    _curve("memory_used_bytes", _BYTES, "GPU memory in use, with what the driver reserves.", minute=4),
    replace(
        _number("memory_total_bytes", _BYTES, "GPU memory that the card has."), sampled=Sampling.ON_CHANGE
    ),
    _curve("graphics_clock_hertz", _HERTZ, "Present clock of the graphics domain."),
    _number("sm_clock_hertz", _HERTZ, "Present clock of the streaming multiprocessors."),
    _recorded("memory_clock_hertz", _HERTZ, "Present clock of the memory."),
    _number("video_clock_hertz", _HERTZ, "Present clock of the video engines."),
    _number("graphics_clock_max_hertz", _HERTZ, "Highest clock of the graphics domain."),
    _number("memory_clock_max_hertz", _HERTZ, "Highest clock of the memory."),
    Figure(
        "memory_bus_width_bits",
        (
            Metric(
                "memory_bus_width_bytes",
                "What the memory's bus carries in one transfer.",
                value="memory_bus_width_bytes",
            ),
            Metric(
                "memory_bandwidth_theoretical_bytes_per_second",
                "The most that the memory can carry: "
                "two transfers a cycle of its highest clock, over its bus.",
                value="theoretical_bandwidth_bytes_per_second",
            ),
        ),
        _BITS,
    ),
    _number(
        "pcie_generation",
        _GENERATION,
        "Present generation of the PCI Express link; falls at rest.",
        "pcie_link_generation",
    ),
    _number(
        "pcie_generation_max",
        _GENERATION,
        "Highest generation of the PCI Express link.",
        "pcie_link_generation_max",
    ),
    _number("pcie_width_lanes", _LANES, "Present width of the PCI Express link.", "pcie_link_width_lanes"),
    _number(
        "pcie_width_max_lanes", _LANES, "Greatest width of the PCI Express link.", "pcie_link_width_max_lanes"
    ),
    _number(
        "pcie_transmit_bytes_per_second",
        _BYTES_PER_SECOND,
        "What the GPU sent over PCI Express, measured for 20 ms.",
    ),
    _number(
        "pcie_receive_bytes_per_second",
        _BYTES_PER_SECOND,
        "What the GPU received over PCI Express, measured for 20 ms.",
    ),
    _number(
        "retired_pages_corrected_count",
        _COUNT,
        "Memory pages retired for errors of one bit, in the card's life.",
        "retired_pages_corrected",
    ),
    _number(
        "retired_pages_uncorrected_count",
        _COUNT,
        "Memory pages retired for errors of two bits, in the card's life.",
        "retired_pages_uncorrected",
    ),
    _number(
        "remapped_rows_corrected_count",
        _COUNT,
        "Memory rows replaced for errors that were corrected, in the card's life.",
        "remapped_rows_corrected",
    ),
    _number(
        "remapped_rows_uncorrected_count",
        _COUNT,
        "Memory rows replaced for errors that were not corrected, in the card's life.",
        "remapped_rows_uncorrected",
    ),
    _number(
        "ecc_aggregate_corrected_count",
        _COUNT,
        "Memory errors that were corrected, in the card's life.",
        "ecc_aggregate_corrected_errors",
    ),
    _number(
        "ecc_aggregate_uncorrected_count",
        _COUNT,
        "Memory errors that were not corrected, in the card's life.",
        "ecc_aggregate_uncorrected_errors",
    ),
    _number(
        "energy_joules",
        _JOULES,
        "Energy drawn since the driver was loaded.",
        "card_energy_joules",
        kind=Kind.COUNTER,
    ),
    _number(
        "pcie_replay_count",
        _COUNT_32_BITS,
        "Transfers over PCI Express that had to be repeated.",
        "pcie_replays",
        kind=Kind.COUNTER,
    ),
    _number(
        "ecc_corrected_count",
        _COUNT,
        "Memory errors corrected since the driver was loaded.",
        "ecc_corrected_errors",
        kind=Kind.COUNTER,
    ),
    _number(
        "ecc_uncorrected_count",
        _COUNT,
        "Memory errors that could not be corrected since the driver was loaded.",
        "ecc_uncorrected_errors",
        kind=Kind.COUNTER,
    ),
    _flag("ecc_enabled", "Whether memory errors are corrected (1)."),
    _flag("mig_enabled", "Whether the GPU is divided (1)."),
    _flag("retired_pages_pending", "Whether pages wait for a reset to be retired (1)."),
    _flag("remapped_rows_pending", "Whether rows wait for a reset to be replaced (1)."),
    _flag("remapped_rows_failed", "Whether a row could not be replaced (1)."),
    _throttling("power_cap_throttle_seconds", "sw_power_cap"),
    _throttling("sync_boost_throttle_seconds", "sync_boost"),
    _throttling("sw_thermal_throttle_seconds", "sw_thermal_slowdown"),
    _throttling("hw_thermal_throttle_seconds", "hw_thermal_slowdown"),
    _throttling("hw_power_brake_throttle_seconds", "hw_power_brake_slowdown"),
    Figure("clock_event_bits", sampled=Sampling.ON_CHANGE),
    _parts(
        "clock_events",
        "reason",
        clock_event_active="Whether this reason holds the clocks down now (1) or not (0); "
        "sw_power_cap is normal under load.",
    ),
    _parts(
        "fans",
        "fan",
        fan_intended_ratio="Intended speed of each fan; 1 is the full speed.",
        fan_intended_rpm="Intended speed of each fan in turns a minute.",
    ),
    _parts(
        "processes",
        "container",
        container_memory_bytes="GPU memory that the processes of a container hold; "
        "container is the short id, empty for the host.",
    ),
    _parts(
        "mig_instances",
        *("mig_uuid", "gpu_instance", "compute_instance"),
        mig_memory_used_bytes="Memory in use of a MIG part.",
        mig_memory_total_bytes="Memory that a MIG part has.",
    ),
    *(Figure("index"), Figure("uuid")),  # labels of every series
    Figure("name", (Metric("info", "What each GPU is, and whether it is simulated.", Kind.INFO, _INFO),)),
    Figure(
        "xids",
        (
            Metric(
                "xid_events",
                "Xid events since the daemon's start; class is what to look into first: "
                "application, driver, hardware or unknown.",
                Kind.COUNTER,
                ("uuid", "xid", "class"),
            ),
        ),
    ),
)
"""Rows, in the order of the metrics page and of an incident's columns."""


def _families() -> Mapping[str, tuple[Metric, ...]]:
    families: dict[str, tuple[Metric, ...]] = {}
    for figure in FIGURES:
        for metric in figure.metrics:
            families[metric.name] = (*families.get(metric.name, ()), metric)
    return MappingProxyType(families)


FAMILIES: Final = _families()
"""Metrics by name; one that several rows fill has them all."""

BOUNDS: Final = MappingProxyType(
    {figure.field: figure.bounds for figure in FIGURES if figure.bounds is not None}
)
"""Bounds of each number; its keys are the names of a reading's numbers, each a ``float | None``."""

FLAGS: Final = tuple(figure.field for figure in FIGURES if figure.flag)
"""Names of the flags of a reading, each a ``bool | None``."""

RECORDED: Final = tuple(figure.field for figure in FIGURES if figure.recorded)
"""Columns of an incident's readings."""

SAMPLED: Final = tuple(figure.field for figure in FIGURES if figure.sampled is Sampling.EACH_READING)
"""Series that have a point for each full reading."""

SAMPLED_ON_CHANGE: Final = tuple(figure.field for figure in FIGURES if figure.sampled is Sampling.ON_CHANGE)
"""Series that have a point for each change, and one a minute."""

ROLLED_UP: Final = tuple(
    field for _, field in sorted((figure.minute, figure.field) for figure in FIGURES if figure.minute)
)
"""Figures of which a minute has the least, the mean and the greatest; each is a series too."""

THROTTLE_REASONS: Final = MappingProxyType(
    {metric.value: metric.label_values[0] for metric in FAMILIES[_THROTTLED]}
)
"""Counters of throttled seconds, and the clock event whose time each counts."""
