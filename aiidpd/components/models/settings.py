"""Table [models]: which folders are searched for models, how often, and what may be requested of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from aiidpd.config import values
from aiidpd.config.fields import AbsolutePath, Clash, Duration, Table


def _secret(value: object) -> str | None:
    return values.secret(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ModelsSettings(Table):
    """Component models: which models lie on this machine."""

    folders: tuple[AbsolutePath, ...] = Field(
        default=(),
        description="The folders that are searched: caches of Hugging Face, Ollama, ModelScope, LM Studio, "
        "and plain ones. Empty: backup.source where that is set, else the usual caches of this machine "
        "that are there and can be read.",
    )
    scan_interval: Duration = Field(
        default=3600.0,
        ge=0,
        le=7 * 86400,
        description="How often they are searched. A model none of whose files changed is not opened again. "
        "0: only on request.",
    )
    leftover_age: Duration = Field(
        default=86400.0,
        ge=60,
        le=365 * 86400,
        description="How long a file of a download that has not ended must not have changed before it is a "
        "condition.",
    )
    disk_warning: Duration = Field(
        default=14 * 86400.0,
        ge=86400,
        le=365 * 86400,
        description="How long before the day on which a disk with models will be full that is a condition.",
    )
    upstream: bool = Field(
        default=False,
        description="Whether the hub is asked once a day for the newest revision of each model that came "
        "from it. false: only on request (`aiidpctl models check`); nothing else leaves the machine.",
    )
    endpoint: Annotated[str, BeforeValidator(values.http_url)] = Field(
        default="https://huggingface.co",
        description="The hub, or a mirror of it, as HF_ENDPOINT names it for huggingface_hub.",
    )
    token: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(
        default=None,
        description="The token that is sent to the endpoint, for models that are not public. Better given as "
        "the credential aiidpd.models.token than written here.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if not self.endpoint:
            yield Clash("endpoint", "is empty", "name the hub, or leave the key out")
            return
        parts = urlsplit(self.endpoint)
        if self.token is not None and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            yield Clash(
                "token",
                "would be sent in the clear to another machine",
                "use an endpoint with https, or none but on loopback",
                "endpoint",
            )
