"""Calls of one GPU: how often each is made, and how its result becomes figures in base units."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import pynvml

from aiidpd.components.thermal.driver.nvml import fields
from aiidpd.components.thermal.driver.nvml.invoke import Capabilities, Handle, Json, signed
from aiidpd.components.thermal.driver.nvml.parts import read_fans, read_mig
from aiidpd.components.thermal.driver.nvml.processes import read_processes


class Frequency(Enum):
    """Frequency of a call."""

    FAST = 1  # in each reading
    STEADY = 2  # in each reading that is not a fast one
    SLOW = 3  # in one full reading of ten, spread
    ONCE = 4


class Call(NamedTuple):
    """One NVML call for one GPU: its name in NVML, and how its result becomes figures and faults.

    A call ``instead`` of a figure is made only where nothing else gives that figure.
    """

    name: str
    frequency: Frequency
    read: Callable[[Handle, Capabilities], tuple[Json, list[Json]]]
    instead: str | None = None


def _one(
    name: str,
    frequency: Frequency,
    function: Callable[[Handle], Json],
    instead: str | None = None,
) -> Call:
    return Call(name, frequency, lambda handle, _: (function(handle), []), instead)


def _batch(frequency: Frequency, numbers: tuple[fields.Field, ...]) -> Call:
    return Call(fields.CALL, frequency, lambda handle, card: fields.read(numbers, handle, card.lacks))


def _clock(figure: str, kind: int) -> Call:
    def read(handle: Handle) -> Json:
        return {figure: pynvml.nvmlDeviceGetClockInfo(handle, kind) * 1_000_000}

    return _one("nvmlDeviceGetClockInfo", Frequency.STEADY, read)


def _top_clock(figure: str, kind: int) -> Call:
    def read(handle: Handle) -> Json:
        return {figure: pynvml.nvmlDeviceGetMaxClockInfo(handle, kind) * 1_000_000}

    return _one("nvmlDeviceGetMaxClockInfo", Frequency.ONCE, read)


def _threshold(figure: str, kind: int, frequency: Frequency = Frequency.ONCE) -> Call:
    def read(handle: Handle) -> Json:
        return {figure: signed(pynvml.nvmlDeviceGetTemperatureThreshold(handle, kind))}

    return _one("nvmlDeviceGetTemperatureThreshold", frequency, read)


def _memory(handle: Handle) -> Json:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {"memory_used_bytes": memory.used, "memory_total_bytes": memory.total}


def _utilisation(handle: Handle) -> Json:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return {
        "utilisation_ratio": rates.gpu / 100,
        "memory_controller_utilisation_ratio": rates.memory / 100,
    }


def _limits(handle: Handle) -> Json:
    low, high = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
    return {"power_limit_min_watts": low / 1000, "power_limit_max_watts": high / 1000}


def _throughput(figure: str, counter: int) -> Call:
    def read(handle: Handle) -> Json:
        return {figure: pynvml.nvmlDeviceGetPcieThroughput(handle, counter) * 1024}

    return _one("nvmlDeviceGetPcieThroughput", Frequency.STEADY, read)


def _plain(
    name: str,
    frequency: Frequency,
    figure: str,
    divisor: float = 1,
    *,
    instead: bool = False,
    sign: bool = False,
) -> Call:
    """Return a call that gives one number."""
    function = getattr(pynvml, name)

    def read(handle: Handle) -> Json:
        value = function(handle)
        return {figure: (signed(value) if sign else value) / divisor}

    return _one(name, frequency, read, figure if instead else None)


def _temperature(handle: Handle) -> Json:
    celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_celsius": signed(celsius)}


def _sensor(figure: str, sensor: int, frequency: Frequency, instead: str | None = None) -> Call:
    def read(handle: Handle) -> Json:
        return {figure: pynvml.nvmlDeviceGetTemperatureV(handle, sensor)}

    return _one("nvmlDeviceGetTemperatureV", frequency, read, instead)


CALLS = (
    # First, because what a card lacks depends on it: a change while the rest is read then shows next time.
    Call("nvmlDeviceGetMigMode", Frequency.SLOW, read_mig),
    # The four of a fast reading; where the older of two names is gone, the newer takes its place.
    _batch(Frequency.FAST, fields.FAST),
    _one("nvmlDeviceGetTemperature", Frequency.FAST, _temperature),
    _sensor("temperature_celsius", pynvml.NVML_TEMPERATURE_GPU, Frequency.FAST, "temperature_celsius"),
    _plain("nvmlDeviceGetMarginTemperature", Frequency.FAST, "temperature_margin_celsius"),
    _one(
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        Frequency.FAST,
        lambda handle: {"clock_event_bits": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)},
    ),
    _one(
        "nvmlDeviceGetCurrentClocksEventReasons",
        Frequency.FAST,
        lambda handle: {"clock_event_bits": pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)},
        "clock_event_bits",
    ),
    # Once a second.
    _plain("nvmlDeviceGetPowerUsage", Frequency.STEADY, "power_watts", 1000, instead=True),
    _plain("nvmlDeviceGetEnforcedPowerLimit", Frequency.STEADY, "power_limit_watts", 1000, instead=True),
    _plain(
        "nvmlDeviceGetPowerManagementLimit", Frequency.STEADY, "power_limit_set_watts", 1000, instead=True
    ),
    _one("nvmlDeviceGetUtilizationRates", Frequency.STEADY, _utilisation),
    _one("nvmlDeviceGetMemoryInfo", Frequency.STEADY, _memory),
    _clock("graphics_clock_hertz", pynvml.NVML_CLOCK_GRAPHICS),
    _clock("sm_clock_hertz", pynvml.NVML_CLOCK_SM),
    _clock("memory_clock_hertz", pynvml.NVML_CLOCK_MEM),
    _clock("video_clock_hertz", pynvml.NVML_CLOCK_VIDEO),
    _sensor("hotspot_temperature_celsius", pynvml.NVML_TEMPERATURE_GPU_MAX, Frequency.STEADY),
    Call("nvmlDeviceGetFanSpeed_v2", Frequency.STEADY, read_fans),
    _plain("nvmlDeviceGetFanSpeed", Frequency.STEADY, "fan_ratio", 100, instead=True),
    # About every ten seconds.
    _batch(Frequency.SLOW, fields.SLOW),
    _one("nvmlDeviceGetPowerManagementLimitConstraints", Frequency.SLOW, _limits, "power_limit_min_watts"),
    _plain(
        "nvmlDeviceGetPowerManagementDefaultLimit",
        Frequency.SLOW,
        "power_limit_default_watts",
        1000,
        instead=True,
    ),
    _plain("nvmlDeviceGetPcieReplayCounter", Frequency.SLOW, "pcie_replay_count", instead=True),
    _plain("nvmlDeviceGetCurrPcieLinkGeneration", Frequency.SLOW, "pcie_generation"),
    _plain("nvmlDeviceGetCurrPcieLinkWidth", Frequency.SLOW, "pcie_width_lanes"),
    _threshold("target_celsius", pynvml.NVML_TEMPERATURE_THRESHOLD_ACOUSTIC_CURR, Frequency.SLOW),
    Call("nvmlDeviceGetComputeRunningProcesses", Frequency.SLOW, read_processes),
    # What never changes while a GPU is there.
    _batch(Frequency.ONCE, fields.OFFSETS),
    _threshold("slowdown_celsius", pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    _threshold("shutdown_celsius", pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
    _threshold("memory_max_celsius", pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX),
    _threshold("gpu_max_celsius", pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX),
    _top_clock("graphics_clock_max_hertz", pynvml.NVML_CLOCK_GRAPHICS),
    _top_clock("memory_clock_max_hertz", pynvml.NVML_CLOCK_MEM),
    _plain("nvmlDeviceGetMemoryBusWidth", Frequency.ONCE, "memory_bus_width_bits"),
    _plain("nvmlDeviceGetMaxPcieLinkGeneration", Frequency.ONCE, "pcie_generation_max"),
    _plain("nvmlDeviceGetMaxPcieLinkWidth", Frequency.ONCE, "pcie_width_max_lanes"),
)

THROUGHPUT = (
    _throughput("pcie_transmit_bytes_per_second", pynvml.NVML_PCIE_UTIL_TX_BYTES),
    _throughput("pcie_receive_bytes_per_second", pynvml.NVML_PCIE_UTIL_RX_BYTES),
)
"""Made only where they are enabled: the driver measures for 20 ms in each call."""
