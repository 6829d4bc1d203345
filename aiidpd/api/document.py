"""What the documents of the control API are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from aiidpd.kernel.events import Severity

SEVERITIES = {severity.name.lower(): severity for severity in Severity}


def _severity_name(value: object) -> object:
    return value.name.lower() if isinstance(value, Severity) else value


SeverityName = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_severity_name)]
Scalar = str | int | float | bool | None


class Document(BaseModel):
    """What the daemon gives."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Question(BaseModel):
    """What the daemon takes: anything that is not foreseen is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reading(Document):
    """What all readings have in common."""

    read_at: float | None = Field(description="When it was read; null where there is no current reading.")
    reason: str = Field(description="Why there is no reading, or what is wrong; empty where all is well.")
    simulated: bool
