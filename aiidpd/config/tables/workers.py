"""The tables of the other workers: containers, backup, bench."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from aiidpd.config import values
from aiidpd.config.fields import (
    Clash,
    Duration,
    OptionalPath,
    Size,
    SocketPath,
    Table,
    Text,
    Whole,
    lies_in,
)
from aiidpd.config.units import Malformed


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
    longest_pause: Duration = Field(
        default=120.0,
        ge=1,
        le=600,
        description="For how long at most a container of gpu.governor_back_off_containers is paused at a "
        "stretch, however hot the GPU stays. Clients that wait less give up.",
    )
    rest_between_pauses: Duration = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="For how long at least such a container runs before it is paused again.",
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
    engine_metrics_interval: Duration = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How often an engine is asked for its own figures (requests running and waiting, tokens "
        "generated), which vLLM shows at /metrics and llama-server does when started with --metrics. Less "
        "than a second counts as one; 0: never.",
    )
    endpoints: Annotated[tuple[Endpoint, ...], AfterValidator(_unique)] = Field(
        default=(),
        description="The servers that are measured, one [[bench.endpoints]] each, at the end of this table.",
    )
