"""Table [gpu] and those within: reading GPUs, their limits, alerts, the governor, the price of energy."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from aiidpd.config import values
from aiidpd.config.fields import (
    Clash,
    ContainerName,
    Duration,
    Effect,
    Number,
    OptionalCelsius,
    Table,
    Text,
    Was,
    Whole,
)
from aiidpd.config.units import Malformed


class GpuOverride(Table):
    """Limits of one GPU, where they differ from those of all."""

    gpu: Text = Field(
        examples=["0"],
        description='Which one: its index, such as "0", or its UUID or the beginning of that. '
        "A UUID goes before an index, which can name another card after a restart.",
    )
    warning_celsius: OptionalCelsius = Field(
        default=None, examples=[80], description="In place of gpu.warning_celsius."
    )
    critical_celsius: OptionalCelsius = Field(
        default=None, examples=[87], description="In place of gpu.critical_celsius."
    )
    memory_warning_celsius: OptionalCelsius = Field(
        default=None, examples=[95], description="In place of gpu.memory_warning_celsius."
    )
    slowdown_margin_celsius: OptionalCelsius = Field(
        default=None, examples=[5], description="In place of gpu.slowdown_margin_celsius."
    )


def _unique_gpus(overrides: tuple[GpuOverride, ...]) -> tuple[GpuOverride, ...]:
    names = [override.gpu for override in overrides]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Malformed(f"GPU {', '.join(twice)} has more than one entry", "write all of its limits into one")
    return overrides


class AlertSettings(Table):
    """Times and bounds of alerts on GPUs; the temperatures are in [gpu], since polling follows them too."""

    warning_dwell: Annotated[Duration, Was("gpu.warning_dwell")] = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="For how long a GPU or its memory must be warm before the alert fires.",
    )
    critical_dwell: Annotated[Duration, Was("gpu.critical_dwell")] = Field(
        default=3.0,
        ge=0,
        le=3600,
        description="For how long a GPU must be too hot, or too near to its own slowdown point, "
        "before the alert fires.",
    )
    hot_limit: Annotated[Duration, Was("gpu.hot_limit")] = Field(
        default=600.0,
        ge=1,
        le=3600,
        description="How much of the last hour a GPU may be at its warning temperature or above.",
    )
    throttle_limit: Annotated[Duration, Was("gpu.throttle_limit")] = Field(
        default=5.0,
        ge=0.1,
        le=600,
        description="For how much of the last 10 minutes a GPU's hardware may hold its clocks down for heat.",
    )
    resistance_drift_percent: Annotated[Whole, Was("gpu.resistance_drift_percent")] = Field(
        default=15,
        ge=5,
        le=500,
        description="By how much a GPU's thermal resistance may lie above its own usual one before it needs "
        "cleaning. It is fine again at half of that.",
    )
    expected_gpus: Annotated[Whole, Was("gpu.expected_gpus")] = Field(
        default=0,
        ge=0,
        le=64,
        description="How many GPUs there must be; an alert fires where it is another number. "
        "0: as many as at the first reading.",
    )


class GovernorMode(StrEnum):
    """Use that the governor makes of its decisions."""

    OFF = "off"
    DRY_RUN = "dry-run"
    ON = "on"


class GovernorSettings(Table):
    """Governor: less power for a GPU that would become too hot, and all of it back when it is cool."""

    mode: Annotated[GovernorMode, Was("gpu.governor")] = Field(
        default=GovernorMode.OFF,
        description="Whether a GPU is given less power, then lower clocks, before its driver throttles it, "
        "and gets everything back when it is cool, and when the daemon ends, however it ends. "
        '"dry-run" only reports what it would do. Setting anything needs a right that the service does not '
        "have by default: see docs/operations.md.",
    )
    target_celsius: Annotated[OptionalCelsius, Was("gpu.governor_target_celsius")] = Field(
        default=None,
        ge=30,
        le=120,
        description="The temperature, in degrees Celsius, that the governor keeps a GPU below. Empty: "
        "gpu.governor.margin_celsius below the card's own limit.",
    )
    margin_celsius: Annotated[Whole, Was("gpu.governor_margin_celsius")] = Field(
        default=5,
        ge=1,
        le=50,
        description="How many degrees Celsius below the card's own limit (where it slows down, or the "
        "highest temperature of its normal operation, whichever comes first) the governor keeps a GPU.",
    )
    power_floor_percent: Annotated[Whole, Was("gpu.governor_power_floor_percent")] = Field(
        default=50,
        ge=10,
        le=100,
        description="How far the governor may lower a power limit, in percent of the card's default limit. "
        "It never leaves the range that the card allows.",
    )
    lock_clocks: Annotated[bool, Was("gpu.governor_lock_clocks")] = Field(
        default=True,
        description="Whether the governor may lower the highest graphics clock where the lowest power limit "
        "does not suffice. Set it to false where you lock clocks yourself: the driver can't tell what was "
        "locked before, so afterwards they are unlocked.",
    )
    clock_floor_percent: Annotated[Whole, Was("gpu.governor_clock_floor_percent")] = Field(
        default=20,
        ge=10,
        le=100,
        description="How far the governor may lower the graphics clock, in percent of the card's highest.",
    )
    recovery: Annotated[Duration, Was("gpu.governor_recovery")] = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="How long a GPU must be cool before the governor gives it one step back. The time "
        "doubles with each step that made it hot again, up to an hour.",
    )
    back_off_containers: Annotated[
        tuple[ContainerName, ...], AfterValidator(values.unique), Was("gpu.governor_back_off_containers")
    ] = Field(
        default=(),
        description="The names of the containers that are paused where a GPU stays too hot and nothing else "
        "is left to lower. Requests to a paused one hang until it is resumed; none is lost, unless its "
        "client gives up, and its GPU memory stays. See containers.pause.longest and docs/operations.md.",
    )


class EnergySettings(Table):
    """Price of energy, for the cost of generated tokens."""

    price_per_kwh: Annotated[Number, Effect.LIVE, Was("energy.price_per_kwh")] = Field(
        default=0.3, ge=0, le=1000, description="The price of a kilowatt-hour, in gpu.energy.currency."
    )
    currency: Annotated[str, BeforeValidator(values.currency), Effect.LIVE, Was("energy.currency")] = Field(
        default="EUR", description="The currency of the price, as ISO 4217 writes it."
    )


class GpuSettings(Table):
    """Component thermal: GPU temperatures, power and clocks."""

    library: Literal["auto", "nvml", "simulated", "off"] = Field(
        default="auto",
        description="Where readings come from: "
        '"nvml" is the driver\'s library (libnvidia-ml.so.1); '
        '"auto" is that too, but a machine that never had it is well without; '
        '"simulated" makes readings up and says so everywhere; "off" reads nothing.',
    )
    interval: Duration = Field(default=1.0, ge=0.1, le=3600, description="How often the GPUs are read.")
    fast_interval: Duration = Field(
        default=0.25,
        ge=0.1,
        le=3600,
        description="How often they are read while one is within 5 degrees Celsius of a limit, its own "
        "or one of this table. A value of gpu.interval or more leaves it at that.",
    )
    call_timeout: Duration = Field(
        default=0.9,
        ge=0.1,
        le=600,
        description="How long one reading may take. The process that hangs in the driver is then killed "
        "and made anew.",
    )
    pcie_throughput: bool = Field(
        default=False,
        description="Whether the traffic over PCI Express is read too. The driver measures for 40 ms a GPU "
        "each time, which makes every reading slower.",
    )
    warning_celsius: Whole = Field(
        default=85,
        ge=1,
        le=150,
        description="The temperature, in degrees Celsius, from which a GPU counts as warm.",
    )
    critical_celsius: Whole = Field(
        default=90,
        ge=1,
        le=150,
        description="The temperature, in degrees Celsius, from which a GPU counts as too hot.",
    )
    hysteresis_celsius: Whole = Field(
        default=3,
        ge=1,
        le=50,
        description="How many degrees below a threshold a GPU must cool before it counts as recovered, "
        "so that a temperature that hovers around the threshold is reported once.",
    )
    memory_warning_celsius: Whole = Field(
        default=100,
        ge=1,
        le=150,
        description="The temperature, in degrees Celsius, from which a GPU's memory counts as warm, where "
        "the card tells it. A limit of the card's own counts slowdown_margin_celsius before it is reached.",
    )
    slowdown_margin_celsius: Whole = Field(
        default=5,
        ge=0,
        le=50,
        description="How many degrees Celsius short of the point from which the card itself slows down "
        "an alert fires.",
    )
    ambient_celsius: Whole = Field(
        default=25,
        ge=-20,
        le=60,
        description="The temperature of the air, in degrees Celsius, that thermal resistance is reckoned "
        "from for a GPU that never idles. One that does is compared with its own idle temperature.",
    )
    emergency_stop: Annotated[tuple[ContainerName, ...], AfterValidator(values.unique)] = Field(
        default=(),
        description="The names of the containers that are stopped where a GPU is at its critical temperature "
        "in three readings in a row. Empty: none is. aiidpd does not start them again; its events say how.",
    )
    simulated_gpus: Whole = Field(
        default=1, ge=0, le=64, description='How many GPUs library = "simulated" shows.'
    )
    overrides: Annotated[tuple[GpuOverride, ...], AfterValidator(_unique_gpus)] = Field(
        default=(),
        description="Limits of single GPUs, one [[gpu.overrides]] each, at the end of this table.",
    )
    alerts: AlertSettings = AlertSettings()
    governor: GovernorSettings = GovernorSettings()
    energy: EnergySettings = EnergySettings()

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if self.critical_celsius <= self.warning_celsius:
            reason = f"must be greater than gpu.warning_celsius, which is {self.warning_celsius}"
            yield Clash(
                "critical_celsius", reason, "raise it, or lower gpu.warning_celsius", "warning_celsius"
            )
        if self.hysteresis_celsius >= self.warning_celsius:
            reason = f"must be less than gpu.warning_celsius, which is {self.warning_celsius}"
            yield Clash("hysteresis_celsius", reason, "a few degrees are enough", "warning_celsius")
        for override in self.overrides:
            warning = override.warning_celsius or self.warning_celsius
            critical = override.critical_celsius or self.critical_celsius
            if critical <= warning and (override.warning_celsius or override.critical_celsius):
                reason = (
                    f"gives GPU {override.gpu} a critical limit of {critical}, and a warning of {warning}"
                )
                yield Clash("overrides", reason, "critical_celsius must be the greater one")
