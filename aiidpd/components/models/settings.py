"""Table [models] and its list of signers: what is searched, what the hub is asked, who is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from aiidpd.config import values
from aiidpd.config.fields import AbsolutePath, Clash, Duration, OptionalPath, Table, Text
from aiidpd.config.units import Malformed


def _secret(value: object) -> str | None:
    return values.secret(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


MOST_SIGNERS: Final = 50


class SignerSettings(Table):
    """One signer whose signatures of models are trusted."""

    name: Annotated[str, BeforeValidator(values.name)] = Field(
        examples=["vendor"],
        description="How it is called in results and events. Each name is used once.",
    )
    kind: Literal["key", "certificate", "sigstore"] = Field(
        default="key",
        description='How it proves itself: by an elliptic-curve "key", by a "certificate" of an authority, '
        'or by "sigstore" without a key of its own.',
    )
    public_key: OptionalPath = Field(
        default=None,
        examples=["/etc/aiidpd/vendor.pem"],
        description="The public key, a PEM file. For kind key, which needs it.",
    )
    certificates: tuple[AbsolutePath, ...] = Field(
        default=(),
        description="PEM files of the authorities that are trusted, the root among them. For kind "
        "certificate, which needs one: every certificate for signing that they issued counts. Those of the "
        "system don't count.",
    )
    identity: Text = Field(
        default="",
        description="The address or URI that the certificate must name. For kind sigstore, which needs it.",
    )
    issuer: Text = Field(
        default="",
        description="The service that must have vouched for the identity. For kind sigstore, which needs it.",
    )
    trust_config: OptionalPath = Field(
        default=None,
        description="The client trust config of a sigstore instance, a JSON file. Empty: the public one, "
        "whose roots are fetched when a signature is verified; with a file nothing leaves the machine.",
    )
    models: tuple[Text, ...] = Field(
        default=(),
        examples=[("vendor/*", "/srv/models/vendor")],
        description="The models that it signs: names, patterns of names, or folders. One that is named here "
        "must have a signature of one of its signers, else that is a condition. Empty: any model, and none "
        "must.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        of_kind = {
            "key": ("public_key",),
            "certificate": ("certificates",),
            "sigstore": ("identity", "issuer"),
        }
        for kind, keys in of_kind.items():
            for key in keys:
                if kind == self.kind and not getattr(self, key):
                    yield Clash(key, "is missing", f"set it, as the signer {self.name} is of kind {kind}")
                elif kind != self.kind and getattr(self, key):
                    yield Clash(key, f"is for kind {kind} alone", "leave it out")
        if self.trust_config is not None and self.kind != "sigstore":
            yield Clash("trust_config", "is for kind sigstore alone", "leave it out")


def _unique(given: tuple[SignerSettings, ...]) -> tuple[SignerSettings, ...]:
    names = [each.name for each in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Malformed(f"the name {', '.join(twice)} is used more than once", "give each its own name")
    if len(given) > MOST_SIGNERS:
        raise Malformed(f"are more than {MOST_SIGNERS} signers", "list fewer")
    return given


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
    signers: Annotated[tuple[SignerSettings, ...], AfterValidator(_unique)] = Field(
        default=(),
        description="Whose signatures are trusted, one [[models.signers]] each, at the end of this table.",
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
