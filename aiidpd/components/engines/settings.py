"""Tables [engines] and [engines.liveness]: which engines are polled, how often, and when one is hung."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from aiidpd.config import values
from aiidpd.config.fields import Clash, Duration, Table, Was
from aiidpd.config.units import Malformed

EngineName = Literal["", "vllm", "llama.cpp", "sglang", "tgi", "ollama", "tensorrt-llm", "llama-swap"]


def _secret(value: object) -> str | None:
    return values.secret(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _url(value: object) -> str:
    return "" if value == "" else values.http_url(value)


class EngineServer(Table):
    """One inference engine that is neither an endpoint of [bench] nor found by its container."""

    name: Annotated[str, BeforeValidator(values.name)] = Field(
        examples=["local"],
        description="How the engine is called in metrics and events. With the name of an endpoint of [bench] "
        "it adds to what is known of that.",
    )
    url: Annotated[str, BeforeValidator(_url)] = Field(
        default="",
        examples=["http://127.0.0.1:8080"],
        description="The engine's base URL; where it runs in a container, that container's by itself.",
    )
    engine: EngineName = Field(default="", description="Which engine it is; empty: found out by its pages.")
    container: Annotated[str, BeforeValidator(values.text)] = Field(
        default="", description="The name of the container that it runs in; empty: found by its address."
    )
    may_sleep: Literal["unknown", "yes", "no"] = Field(
        default="unknown",
        description="Whether its model can go to sleep or be unloaded. Such an engine is sent nothing that "
        'could keep its model awake, wake it or load it. "unknown": that is found out, where it can be.',
    )
    api_key: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(
        default=None,
        description="The key that is sent to the engine. Better given as the credential "
        "aiidpd.engines.servers.NAME.api_key than written here.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if not self.url and not self.container:
            yield Clash("url", "is missing", f"set it, or container, for the engine {self.name}")


def _unique(servers: tuple[EngineServer, ...]) -> tuple[EngineServer, ...]:
    names = [server.name for server in servers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Malformed(
            f"the name {', '.join(twice)} is used more than once", "give each engine its own name"
        )
    return servers


class LivenessSettings(Table):
    """Liveness of engines by their progress: when one is hung, and when that is only possible."""

    enabled: bool = Field(
        default=True,
        description="Whether a verdict on each engine is formed: a hung one becomes a condition, and is "
        "reported to what heals containers. Nothing is sent to an engine for it but what check_interval "
        "allows.",
    )
    minimum_quiet: Duration = Field(
        default=10.0,
        ge=5,
        le=600,
        description="For how long at least an engine with requests must make no step, and its processes "
        "and GPUs nothing at all, before it is hung: also where it never paused so long in its history.",
    )
    maximum_quiet: Duration = Field(
        default=24.0,
        ge=5,
        le=600,
        description="For how long at most that is waited for, and always while little is known of the "
        "engine. With 24 s a hang is found within 30 s.",
    )
    load_timeout: Duration = Field(
        default=3600.0,
        ge=60,
        le=86400,
        description="How long an engine may load its model before that is a condition; it is hung if it "
        "then does nothing at all.",
    )
    check_interval: Duration = Field(
        default=300.0,
        ge=0,
        le=86400,
        description="How often at most an idle engine is sent a completion of one token to see that it "
        "answers; 0: never. None is sent while requests run or the engine made steps meanwhile, nor ever to "
        "an engine whose model may sleep or be unloaded.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if self.minimum_quiet > self.maximum_quiet:
            yield Clash(
                "minimum_quiet",
                "is more than engines.liveness.maximum_quiet",
                "lower it, or raise the other",
                "maximum_quiet",
            )


class EnginesSettings(Table):
    """Component engines: what inference engines report of themselves."""

    interval: Annotated[Duration, Was("bench.engine_metrics_interval")] = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How often an engine is polled: whether its model is loaded, and its figures (requests "
        "running and waiting, tokens generated). Less often where its answers take long. Less than a second "
        "counts as one; 0: never.",
    )
    containers: bool = Field(
        default=True,
        description="Whether engines are searched for in containers, by image, command line and labels: "
        "aiidpd.engine (its name, or off), aiidpd.engine.port, aiidpd.engine.url, aiidpd.engine.may-sleep.",
    )
    servers: Annotated[tuple[EngineServer, ...], AfterValidator(_unique)] = Field(
        default=(),
        description="Further engines, one [[engines.servers]] each, at the end of this table.",
    )
    liveness: LivenessSettings = LivenessSettings()
