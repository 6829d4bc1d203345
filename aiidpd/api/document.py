"""Documents of the control API: their base, and what they have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from aiidpd.kernel.events import Severity
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus

SEVERITIES = {severity.name.lower(): severity for severity in Severity}


def _severity_name(value: object) -> object:
    return value.name.lower() if isinstance(value, Severity) else value


SeverityName = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_severity_name)]
Scalar = str | int | float | bool | None


class Document(BaseModel):
    """What the daemon gives."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Request(BaseModel):
    """What the daemon takes: anything that is not foreseen is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SnapshotResponse(Document):
    """What all readings have in common."""

    read_at: float | None = Field(description="When it was read; null where there is no current reading.")
    reason: str = Field(description="Why there is no reading, or what is wrong; empty where all is well.")
    simulated: bool


class NoOptions(Request):
    """No options."""


class Heartbeat(Document):
    """A line of a stream in which nothing happened for a while: the daemon is still there."""

    heartbeat: float = Field(description="The daemon's time, in Unix seconds.")


class ProblemDocument(Document):
    """An error (RFC 9457). The members after ``detail`` are given where aiidpd's own rules speak."""

    type: str
    title: str
    status: int
    detail: str
    action: str = ""
    subject: str = ""
    reason: str = ""
    remedy: str = ""


ResponseT = TypeVar("ResponseT", bound=SnapshotResponse)


def current(
    kind: type[ResponseT], reading: Reading[Any] | None, status: WorkerStatus, **given: Any
) -> ResponseT:
    """Return the document of ``reading``, with the reason of the task's ``status`` where there is none.

    What neither ``given`` nor the status says is taken from the attributes of the reading's value.
    """
    reason = status.reason
    if reading is None and not reason:
        reason = (
            f"worker {status.name} is {status.state}: no reading yet, or the last one is too old to be true"
        )
    common: dict[str, Any] = {
        "read_at": reading.at if reading else None,
        "reason": reason,
        "simulated": getattr(reading.value, "simulated", status.simulated) if reading else status.simulated,
    }
    common |= given
    own = (
        {}
        if reading is None
        else {name: getattr(reading.value, name) for name in kind.model_fields.keys() - common}
    )
    return kind.model_validate(own | common)
