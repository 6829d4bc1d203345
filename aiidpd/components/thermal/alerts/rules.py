"""Every alert of the thermal component, as data (pure). Each has a runbook in aiidpd/alerts/runbooks."""

from __future__ import annotations

from typing import Final

from aiidpd.alerts.rule import AlertRule
from aiidpd.components.thermal.settings import AlertSettings
from aiidpd.components.thermal.signals import thresholds
from aiidpd.kernel.events import Severity

TEMPERATURE_WARNING: Final = "GpuTemperatureWarning"
TEMPERATURE_CRITICAL: Final = "GpuTemperatureCritical"
NEAR_SLOWDOWN: Final = "GpuNearSlowdown"
MEMORY_TEMPERATURE: Final = "GpuMemoryTemperature"
HOT_TOO_LONG: Final = "GpuHotTooLong"
HARDWARE_THROTTLING: Final = "GpuHardwareThrottling"
SOFTWARE_THROTTLING: Final = "GpuSoftwareThrottling"
POWER_BRAKE: Final = "GpuPowerBrake"
XID_APPLICATION: Final = "GpuXidApplication"
XID_DRIVER: Final = "GpuXidDriver"
XID_HARDWARE: Final = "GpuXidHardware"
XID_UNKNOWN: Final = "GpuXidUnknown"
FAN_INEFFECTIVE: Final = "GpuFanIneffective"
RESISTANCE_DRIFT: Final = "GpuThermalResistanceDrift"
SENSOR_FROZEN: Final = "GpuSensorFrozen"
IMPLAUSIBLE: Final = "GpuTemperatureImplausible"
LOST: Final = "GpuLost"
COUNT_CHANGED: Final = "GpuCountChanged"
DRIVER_UNAVAILABLE: Final = "GpuDriverUnavailable"

_GPU = "GPU {gpu} ({name})"
_WEEK = 7 * 86400.0


def rules(settings: AlertSettings) -> tuple[AlertRule, ...]:
    """Return the rules, with the patience that ``settings`` has."""
    return (
        AlertRule(
            TEMPERATURE_WARNING,
            Severity.WARNING,
            "The core is at its warning temperature; clear 3 °C below.",
            f"{_GPU} is at {{temperature_celsius:g}} °C, and its warning limit is {{limit_celsius:g}} °C",
            "see that the fans turn and the air flows, or lower the power limit",
            dwell=settings.warning_dwell,
        ),
        AlertRule(
            TEMPERATURE_CRITICAL,
            Severity.ERROR,
            "The core is at its critical temperature; clear 3 °C below.",
            f"{_GPU} is at {{temperature_celsius:g}} °C, and its critical limit is {{limit_celsius:g}} °C",
            "take load off the GPU now, then look at its cooling",
            dwell=settings.critical_dwell,
        ),
        AlertRule(
            NEAR_SLOWDOWN,
            Severity.WARNING,
            "The core is within 5 °C of the point from which the card itself slows down; clear 3 °C further.",
            f"{_GPU} is {{distance}}",
            "take load off the GPU or lower its power limit before the card does",
            dwell=settings.critical_dwell,
        ),
        AlertRule(
            MEMORY_TEMPERATURE,
            Severity.WARNING,
            "The memory is at its warning temperature; clear 3 °C below.",
            f"the memory of {_GPU} is at {{temperature_celsius:g}} °C; its limit is {{limit_celsius:g}} °C",
            "improve the airflow at the back of the card; memory often suffers from old thermal pads",
            dwell=settings.warning_dwell,
        ),
        AlertRule(
            HOT_TOO_LONG,
            Severity.WARNING,
            "The core was at its warning temperature for 10 minutes of the last hour.",
            f"{_GPU} was at {{limit_celsius:g}} °C or hotter for {{hot_seconds:.0f}} s "
            "of the last {window_seconds:.0f} s",
            "the cooling does not suit the load: lower the power limit or improve the airflow",
            looks_back=thresholds.HOT_WINDOW,
        ),
        AlertRule(
            HARDWARE_THROTTLING,
            Severity.ERROR,
            "The hardware held the clocks down for heat for 5 s of the last 10 minutes.",
            f"{_GPU} was slowed down by its hardware for heat for {{throttle_seconds:.1f}} s "
            "of the last {window_seconds:.0f} s",
            "take load off the GPU, then look at its fans, its dust and its thermal paste",
            looks_back=thresholds.THROTTLE_WINDOW,
        ),
        AlertRule(
            SOFTWARE_THROTTLING,
            Severity.WARNING,
            "The driver held the clocks down for heat for 60 s of the last 10 minutes.",
            f"{_GPU} was slowed down by its driver for heat for {{throttle_seconds:.1f}} s "
            "of the last {window_seconds:.0f} s",
            "lower the power limit a little: the card gives the same speed with less heat",
            looks_back=thresholds.THROTTLE_WINDOW,
        ),
        AlertRule(
            POWER_BRAKE,
            Severity.ERROR,
            "The board's power brake held the clocks down for 1 s of the last 10 minutes.",
            f"{_GPU} was slowed down by its power brake for {{throttle_seconds:.1f}} s "
            "of the last {window_seconds:.0f} s",
            "look at the power supply, its cables and whatever else asserts the brake",
            looks_back=thresholds.THROTTLE_WINDOW,
        ),
        AlertRule(
            XID_APPLICATION,
            Severity.WARNING,
            "The driver reported an Xid that a program causes, in the last hour.",
            f"{_GPU} reported Xid {{xid}} ({{meaning}})",
            "find the program in the log of its container and update or restart it",
            looks_back=thresholds.XID_WINDOW,
        ),
        AlertRule(
            XID_DRIVER,
            Severity.ERROR,
            "The driver reported an Xid that driver or firmware cause, in the last hour.",
            f"{_GPU} reported Xid {{xid}} ({{meaning}})",
            "restart what uses the GPU; where it comes back, change the driver's version",
            looks_back=thresholds.XID_WINDOW,
        ),
        AlertRule(
            XID_HARDWARE,
            Severity.ERROR,
            "The driver reported an Xid that speaks of the hardware, in the last hour.",
            f"{_GPU} reported Xid {{xid}} ({{meaning}})",
            "look at power, seating and the memory's errors; the card may need to be replaced",
            looks_back=thresholds.XID_WINDOW,
        ),
        AlertRule(
            XID_UNKNOWN,
            Severity.WARNING,
            "The driver reported an Xid whose meaning is not known here, in the last hour.",
            f"{_GPU} reported Xid {{xid}} ({{meaning}})",
            "look the code up in NVIDIA's Xid catalogue",
            looks_back=thresholds.XID_WINDOW,
        ),
        AlertRule(
            FAN_INEFFECTIVE,
            Severity.ERROR,
            "A fan is set to half its speed, the power is steady, and the core heats by 9 °C a minute.",
            f"{_GPU} heats by {{heating_celsius_per_minute:.1f}} °C a minute at a steady "
            "{power_watts:.0f} W, though its fan is set to {fan_percent:.0f} %",
            "look whether the fans turn and nothing blocks the air; take load off the GPU until then",
            dwell=5.0,
            keep_firing=60.0,
            ended=f"{_GPU} changes by {{heating_celsius_per_minute:+.1f}} °C a minute now",
        ),
        AlertRule(
            RESISTANCE_DRIFT,
            Severity.WARNING,
            "The thermal resistance is 15 % above its own baseline in steady state; clear at 7.5 %.",
            f"{_GPU} gets rid of heat worse than it did: {{resistance:.3f}} °C per W "
            "where {baseline:.3f} was usual",
            "clean fans and heatsink; then look at the fans, and last at the thermal paste",
            dwell=1800.0,
            stale_after=_WEEK,
            ended=f"{_GPU} has {{resistance:.3f}} °C per W, and {{baseline:.3f}} is usual",
        ),
        AlertRule(
            SENSOR_FROZEN,
            Severity.WARNING,
            "The temperature has not changed by a digit for 2 minutes while the power changed a lot.",
            f"{_GPU} says {{temperature_celsius:g}} °C since {{unchanged_seconds:.0f}} s, "
            "though its power or load changed a lot",
            "don't trust this temperature; loading the driver anew may help",
            looks_back=thresholds.FROZEN_AFTER,
            ended=f"the temperature of {_GPU} is {{temperature_celsius:g}} °C, and not frozen any more",
        ),
        AlertRule(
            IMPLAUSIBLE,
            Severity.WARNING,
            "3 temperatures in a minute were outside of what is physically possible, or jumped.",
            f"{_GPU} gave {{implausible_count:.0f}} impossible temperatures in {{window_seconds:g}} s",
            "don't trust this sensor; compare with `nvidia-smi -q -d TEMPERATURE`",
            keep_firing=60.0,
            looks_back=thresholds.IMPLAUSIBLE_WINDOW,
            ended=f"{_GPU} gave no impossible temperature in {{window_seconds:g}} s",
        ),
        AlertRule(
            LOST,
            Severity.ERROR,
            "A GPU that was there can't be read or is no longer listed; clear once it is read for 10 s.",
            f"{_GPU} can't be read: {{reason}}",
            "`dmesg | grep -i xid` tells what happened; it needs a reset, a reboot, or new seating",
            keep_firing=10.0,
            stale_after=_WEEK,
            ended=f"{_GPU} is no longer missing: {{reason}}",
        ),
        AlertRule(
            COUNT_CHANGED,
            Severity.ERROR,
            "There are more or fewer GPUs than expected, or than were seen first.",
            "there are {count:.0f} GPUs, and {expected:.0f} are expected",
            "look for the missing one in `nvidia-smi -L`; set gpu.alerts.expected_gpus where it was meant",
            keep_firing=10.0,
            ended="there are {count:.0f} GPUs, as expected",
        ),
        AlertRule(
            DRIVER_UNAVAILABLE,
            Severity.ERROR,
            "No GPU can be read at all; clear once one is read for 10 s.",
            "no GPU can be read: {reason}",
            "see that `nvidia-smi` works; the reason tells what to do",
            keep_firing=10.0,
            ended="the driver answers again: {reason}",
        ),
    )
