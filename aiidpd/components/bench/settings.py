"""Table [bench] and its list of endpoints: which servers are probed, how often and with what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from aiidpd.config import values
from aiidpd.config.fields import Clash, Duration, Number, Table, Text, Whole
from aiidpd.config.units import Malformed


def _secret(value: object) -> str | None:
    return values.secret(value.get_secret_value() if isinstance(value, SecretStr) else value)


class EndpointSettings(Table):
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
        default="", examples=["llama-3.1-8b"], description="The model to request, as the server calls it."
    )
    kind: Literal["openai", "simulated"] = Field(
        default="openai",
        description='"openai" is any server with an OpenAI-compatible API, "simulated" makes figures up and '
        "marks them so everywhere; only the first needs url and model.",
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


def _unique(endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
    names = [endpoint.name for endpoint in endpoints]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Malformed(
            f"the name {', '.join(twice)} is used more than once", "give each endpoint its own name"
        )
    return endpoints


class BenchSettings(Table):
    """Component bench: the speed of inference, measured by requesting a short completion."""

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
        description="How many tokens one measurement requests; each costs the server time. Where they come "
        "too fast to tell a pace, it is repeated with more, up to 4096 and within gpu_time_ratio of the "
        "interval.",
    )
    gpu_time_ratio: Number = Field(
        default=0.005,
        ge=0.0001,
        le=1,
        description="Share of the time of a GPU that measurements by schedule may take at most: after each, "
        "the next one waits until that is so. One by hand is exempt.",
    )
    throttled: Literal["label", "reject"] = Field(
        default="label",
        description='Measurements during which heat or a power brake throttled a GPU: "label" shows them so, '
        '"reject" drops them. Neither counts for regressions and claims.',
    )
    wake: bool = Field(
        default=False,
        description="Whether endpoints are measured by schedule also where that wakes a model that sleeps, "
        "loads one in the place of another, or keeps it awake.",
    )
    endpoints: Annotated[tuple[EndpointSettings, ...], AfterValidator(_unique)] = Field(
        default=(),
        description="The servers that are measured, one [[bench.endpoints]] each, at the end of this table.",
    )
