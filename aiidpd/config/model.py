"""The settings: frozen types, one class a table. What each key means stands in its description.

docs/configuration.md and etc/aiidpd.toml are written from these descriptions
(``python -m aiidpd.config.document``). Durations are in seconds, sizes in bytes, temperatures in
degrees Celsius; None and the empty string both mean "unset".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aiidpd.config import values
from aiidpd.config.fields import (
    AbsolutePath,
    Clash,
    ContainerName,
    Duration,
    Effect,
    Number,
    OptionalCelsius,
    OptionalPath,
    Size,
    SocketPath,
    Table,
    Text,
    Whole,
    lies_in,
)
from aiidpd.config.units import Malformed


class Daemon(Table):
    """The daemon itself: its folders, its start and its log."""

    state_directory: AbsolutePath = Field(
        default=Path("/var/lib/aiidpd"),
        description="Where the event history and everything else lies that must survive a restart.",
    )
    runtime_directory: AbsolutePath = Field(
        default=Path("/run/aiidpd"),
        description="Where the sockets control.sock and metrics.sock are made. "
        "A second instance needs its own.",
    )
    ready_timeout: Duration = Field(
        default=10.0,
        ge=0.1,
        le=600,
        description="How long the start waits for each worker's first pass before it reports ready. "
        "A worker that is late counts as degraded and goes on trying. "
        "Keep it under the unit's TimeoutStartSec.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Effect.LIVE] = Field(
        default="info", description="The least severe messages that are logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description='How log lines look: "auto" is "console" on a terminal and "json" elsewhere.',
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if lies_in(self.state_directory, self.runtime_directory):
            reason = "lies in daemon.runtime_directory, which is emptied when the service stops"
            yield Clash("state_directory", reason, "choose a folder outside it", "runtime_directory")
        try:
            values.check_socket_path(self.runtime_directory / "metrics.sock")
        except Malformed as error:
            yield Clash("runtime_directory", error.reason, error.remedy)


class GpuOverride(Table):
    """The limits of one GPU, where they differ from those of all."""

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


class Gpu(Table):
    """The worker "thermal": GPU temperatures, power and clocks."""

    worker: ClassVar[str | None] = "thermal"

    library: Literal["nvml", "simulated"] = Field(
        default="nvml",
        description='Where readings come from: "nvml" is the driver\'s library (libnvidia-ml.so.1), '
        '"simulated" makes them up and says so everywhere.',
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
    warning_dwell: Duration = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="For how long a GPU or its memory must be warm before the alert fires.",
    )
    critical_dwell: Duration = Field(
        default=3.0,
        ge=0,
        le=3600,
        description="For how long a GPU must be too hot, or too near to its own slowdown point, "
        "before the alert fires.",
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
    hot_limit: Duration = Field(
        default=600.0,
        ge=1,
        le=3600,
        description="How much of the last hour a GPU may be at its warning temperature or above.",
    )
    throttle_limit: Duration = Field(
        default=5.0,
        ge=0.1,
        le=600,
        description="For how much of the last 10 minutes a GPU's hardware may hold its clocks down for heat.",
    )
    resistance_drift_percent: Whole = Field(
        default=15,
        ge=5,
        le=500,
        description="By how much a GPU's thermal resistance may lie above its own usual one before it needs "
        "cleaning. It is fine again at half of that.",
    )
    ambient_celsius: Whole = Field(
        default=25,
        ge=-20,
        le=60,
        description="The temperature of the air, in degrees Celsius, that thermal resistance is reckoned "
        "from for a GPU that never idles. One that does is compared with its own lowest temperature.",
    )
    expected_gpus: Whole = Field(
        default=0,
        ge=0,
        le=64,
        description="How many GPUs there must be; an alert fires where it is another number. "
        "0: as many as at the first reading.",
    )
    overrides: Annotated[tuple[GpuOverride, ...], AfterValidator(_unique_gpus)] = Field(
        default=(),
        description="Limits of single GPUs, one [[gpu.overrides]] each, at the end of this table.",
    )
    emergency_stop: Annotated[tuple[ContainerName, ...], AfterValidator(values.unique)] = Field(
        default=(),
        description="The names of the containers that are stopped where a GPU is at its critical temperature "
        "in three readings in a row. Empty: none is. aiidpd does not start them again; its events say how.",
    )
    governor: Literal["off", "dry-run", "on"] = Field(
        default="off",
        description="Whether a GPU is given less power, then lower clocks, before its driver throttles it, "
        "and gets everything back when it is cool, and when the daemon ends, however it ends. "
        '"dry-run" only tells what it would do. Setting anything needs a right that the service does not have '
        "by default: see docs/operations.md.",
    )
    governor_target_celsius: OptionalCelsius = Field(
        default=None,
        ge=30,
        le=120,
        description="The temperature, in degrees Celsius, that the governor keeps a GPU below. Empty: "
        "governor_margin_celsius below the card's own limit.",
    )
    governor_margin_celsius: Whole = Field(
        default=5,
        ge=1,
        le=50,
        description="How many degrees Celsius below the card's own limit (where it slows down, or the "
        "highest temperature of its normal operation, whichever comes first) the governor keeps a GPU.",
    )
    governor_power_floor_percent: Whole = Field(
        default=50,
        ge=10,
        le=100,
        description="How far the governor may lower a power limit, in percent of the card's default limit. "
        "It never leaves the range that the card allows.",
    )
    governor_lock_clocks: bool = Field(
        default=True,
        description="Whether the governor may lower the highest graphics clock where the lowest power limit "
        "does not suffice. Set it to false where you lock clocks yourself: the driver can't tell what was "
        "locked before, so afterwards they are unlocked.",
    )
    governor_clock_floor_percent: Whole = Field(
        default=20,
        ge=10,
        le=100,
        description="How far the governor may lower the graphics clock, in percent of the card's highest.",
    )
    governor_recovery: Duration = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="How long a GPU must be cool before the governor gives it one step back. The time "
        "doubles with each step that made it hot again, up to an hour.",
    )
    governor_back_off_containers: tuple[Text, ...] = Field(
        default=(),
        description="Containers, by name, that are named in the event gpu.back_off, which asks everyone to "
        "leave a GPU alone where nothing else is left to lower.",
    )
    simulated_gpus: Whole = Field(
        default=1, ge=0, le=64, description='How many GPUs library = "simulated" shows.'
    )

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


class Incidents(Table):
    """The flight recorder: what is kept of each incident, below incidents/ in the state directory."""

    worker: ClassVar[str | None] = "thermal"

    keep: Whole = Field(
        default=50, ge=1, le=1000, description="How many incidents are kept; the oldest is removed."
    )
    max_size: Size = Field(
        default=100 * 2**20,
        ge=2**20,
        le=2**40,
        description="How much space all incidents may take; the oldest are removed, but never the newest.",
    )


class Energy(Table):
    """What energy costs, for the cost of generated tokens."""

    price_per_kwh: Annotated[Number, Effect.LIVE] = Field(
        default=0.3, ge=0, le=1000, description="The price of a kilowatt-hour, in energy.currency."
    )
    currency: Annotated[str, BeforeValidator(values.currency), Effect.LIVE] = Field(
        default="EUR", description="The currency of the price, as ISO 4217 writes it."
    )


class Containers(Table):
    """The worker "containers": what the container engine runs and in what state."""

    worker: ClassVar[str | None] = "containers"

    engine: Literal["docker", "simulated"] = Field(
        default="docker",
        description='Who runs the containers: "docker" is a Docker Engine, "simulated" makes containers up '
        "and says so everywhere.",
    )
    socket: SocketPath = Field(default=Path("/run/docker.sock"), description="The Docker Engine's socket.")
    reconcile_interval: Duration = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        description="How often all containers are listed and compared with what the engine's events told. "
        "The engine drops events for slow listeners, so events alone don't suffice.",
    )
    call_timeout: Duration = Field(
        default=10.0, ge=0.1, le=600, description="How long one call to the engine may take."
    )
    simulated_containers: Whole = Field(
        default=3, ge=0, le=1000, description='How many containers engine = "simulated" shows.'
    )


class Backup(Table):
    """The worker "backup": verified copies of the model folder. It rests until source and target are set."""

    worker: ClassVar[str | None] = "backup"

    source: OptionalPath = Field(
        default=None, description="The folder of models that is backed up. Empty: none is."
    )
    target: OptionalPath = Field(
        default=None,
        description="The folder that holds the snapshots, best on another disk. Empty: none is made.",
    )
    schedule: Annotated[str, BeforeValidator(values.calendar)] = Field(
        default="Sun 03:00",
        description="When a backup starts, as systemd writes calendar times (systemd.time(7)), in local time "
        "where no zone is named. Empty: only when asked for.",
    )
    reserve: Size = Field(
        default=64 * 2**20,
        ge=0,
        le=2**50,
        description="How much of the target stays free: a backup that would leave less is not begun.",
    )
    exclude: tuple[Text, ...] = Field(
        default=("*.tmp", "*.lock", "*.incomplete"),
        description="What is left out: shell patterns. One without a slash is compared with each part of a "
        "path, one with a slash with the path from the source.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if self.source is None and self.target is None:
            return
        if self.source is None or self.target is None:
            unset, given = ("source", "target") if self.source is None else ("target", "source")
            yield Clash(unset, f"must be set where backup.{given} is", "set both, or neither", given)
        elif lies_in(self.target, self.source):
            reason = f"lies in backup.source ({self.source}): each backup would copy the backups before it"
            yield Clash("target", reason, "choose a folder outside it", "source")
        elif lies_in(self.source, self.target):
            reason = f"lies in backup.target ({self.target}), where snapshots come and go"
            yield Clash("source", reason, "choose a target outside it", "target")


def _secret(value: object) -> str | None:
    return values.secret(value.get_secret_value() if isinstance(value, SecretStr) else value)


class Endpoint(Table):
    """One inference server whose speed is measured."""

    name: Annotated[str, BeforeValidator(values.name)] = Field(
        examples=["local"],
        description="How the endpoint is called in metrics, events and credentials. Each name is used once.",
    )
    url: Annotated[str, BeforeValidator(values.http_url)] = Field(
        default="",
        examples=["http://127.0.0.1:8000"],
        description='The server\'s base URL, with or without "/v1" at its end.',
    )
    model: Text = Field(
        default="", examples=["llama-3.1-8b"], description="The model that is asked, as the server calls it."
    )
    kind: Literal["openai", "simulated"] = Field(
        default="openai",
        description='"openai" is any server with an OpenAI-compatible API, "simulated" makes figures up and '
        "says so everywhere; only the first needs url and model.",
    )
    api_key: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(
        default=None,
        description="The key that is sent to the server. Better given as the credential "
        "aiidpd.bench.endpoints.NAME.api_key than written here.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if self.kind == "openai":
            for key in ("url", "model"):
                if not getattr(self, key):
                    yield Clash(
                        key, "is missing", f'set it, or use kind = "simulated" for endpoint {self.name}'
                    )


def _unique(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    names = [endpoint.name for endpoint in endpoints]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Malformed(
            f"the name {', '.join(twice)} is used more than once", "give each endpoint its own name"
        )
    return endpoints


class Bench(Table):
    """The worker "bench": the speed of inference, measured by asking for a short completion."""

    worker: ClassVar[str | None] = "bench"

    interval: Duration = Field(
        default=900.0, ge=0.1, le=604800, description="How often each endpoint is measured."
    )
    timeout: Duration = Field(default=60.0, ge=0.1, le=3600, description="How long one measurement may take.")
    first_token_timeout: Duration = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        description="How long a server may take to begin its answer; then the measurement has failed.",
    )
    max_tokens: Whole = Field(
        default=64,
        ge=2,
        le=4096,
        description="How many tokens one measurement asks for; each costs the server time.",
    )
    endpoints: Annotated[tuple[Endpoint, ...], AfterValidator(_unique)] = Field(
        default=(),
        description="The servers that are measured, one [[bench.endpoints]] each, at the end of this table.",
    )


class Telemetry(Table):
    """Metrics for Prometheus, on the socket metrics.sock and on a TCP port."""

    listen: Annotated[str, BeforeValidator(values.loopback)] = Field(
        default="127.0.0.1:9753",
        description="The loopback address and port for a Prometheus that can't scrape a Unix socket. "
        "Port 0 takes a free one; the empty string switches TCP off.",
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """The address and port to listen on, or None where TCP is off."""
        return values.split_address(self.listen) if self.listen else None


class Control(Table):
    """Who may talk to the daemon on the socket control.sock."""

    admins: Annotated[tuple[Annotated[str | int, BeforeValidator(values.account)], ...], Effect.LIVE] = Field(
        default=(),
        description="The users, by name or number, who may change things besides root and the daemon's own "
        "user. "
        "Members of the group may only look.",
    )
    group: Annotated[str, BeforeValidator(values.optional_group)] = Field(
        default="aiidpd",
        description="The group that owns the socket. The empty string leaves the group of the process.",
    )
    max_connections: Whole = Field(
        default=64,
        ge=2,
        le=4096,
        description="How many connections are held at once on each socket; at most half of them are streams.",
    )


class History(Table):
    """The database of events and samples in the state directory. The bound that is reached first counts."""

    keep: Duration = Field(
        default=604800.0, ge=60, le=315360000, description="How long events and samples are kept."
    )
    max_size: Size = Field(
        default=200 * 2**20,
        ge=8 * 2**20,
        le=2**40,
        description="How large the database may grow; then the oldest are dropped.",
    )


class Settings(BaseSettings):
    """The whole configuration. ``Settings()`` is the defaults; files and the environment come by ``load``."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    daemon: Daemon = Daemon()
    gpu: Gpu = Gpu()
    incidents: Incidents = Incidents()
    energy: Energy = Energy()
    containers: Containers = Containers()
    backup: Backup = Backup()
    bench: Bench = Bench()
    telemetry: Telemetry = Telemetry()
    control: Control = Control()
    history: History = History()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 -- the hook's signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- our own refuses unknown variables
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the sources that ``load`` hands over as the argument ``sources``, else the arguments alone."""
        given: dict[str, Any] = (
            init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        )
        sources: tuple[PydanticBaseSettingsSource, ...] | None = given.get("sources")
        return (init_settings,) if sources is None else sources
