"""Table [audit]: what is judged, how often this machine is read, and what a person accepted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field

from aiidpd.config import values
from aiidpd.config.fields import Clash, Duration, Table, Text, Whole
from aiidpd.config.units import Malformed

_LARGEST_PORT = 2**16 - 1


def _day(value: object) -> str:
    """Return a day as YYYY-MM-DD, from a date of TOML or a text."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    written = values.text(value)
    try:
        return date.fromisoformat(written).isoformat()
    except ValueError:
        raise Malformed("is no day", 'write it as "2027-03-31"') from None


class AuditWaiver(Table):
    """Findings that a person accepts for a while."""

    rule: Text = Field(examples=["network-host"], description="The rule, as `aiidpctl audit rules` names it.")
    subject: Text = Field(
        default="*",
        examples=["vllm"],
        description="Whom it is about: a container, listener or model by its name, or a pattern such as "
        '"vllm-*". "*": all.',
    )
    reason: Text = Field(
        examples=["it measures the network itself"], description="Why that is accepted; shown with it."
    )
    until: Annotated[str, BeforeValidator(_day)] = Field(
        examples=["2027-03-31"],
        description="The last day on which it is accepted. From the next on the finding counts again, and "
        "the waiver is a finding itself.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        for key in ("rule", "reason"):
            if not getattr(self, key).strip():
                yield Clash(key, "is empty", "say which finding is accepted, and why")


class AuditSettings(Table):
    """Component audit: how containers, their engine, this machine and its models are secured."""

    enabled: bool = Field(
        default=True,
        description="Whether containers are judged as soon as they change. Nothing is changed by that.",
    )
    host: bool = Field(
        default=True,
        description="Whether files of this machine are read: of Docker and NVIDIA's runtime, packages and "
        "their upgrades, the packet filter, and who may write models.",
    )
    listeners: bool = Field(
        default=True,
        description="Whether each listening TCP port of this machine is asked once an hour, over its own "
        "addresses, whether it speaks an inference API and needs a key. GET alone, and of pages that wake "
        "and load nothing.",
    )
    ignored_ports: tuple[Annotated[Whole, Field(ge=1, le=_LARGEST_PORT)], ...] = Field(
        default=(), examples=[(8443,)], description="Ports that are never asked."
    )
    interval: Duration = Field(
        default=300.0,
        ge=10,
        le=86400,
        description="How often this machine, its models and its listeners are read. Containers are judged "
        "within a second of a change.",
    )
    waivers: tuple[AuditWaiver, ...] = Field(
        default=(),
        description="What is accepted, one [[audit.waivers]] each, at the end of this table.",
    )
