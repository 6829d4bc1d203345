"""Fields of the tables of the settings: kinds of values, and the table itself."""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from aiidpd.config import values
from aiidpd.config.units import format_duration, format_size, parse_duration, parse_size


class Effect(Enum):
    """Ways in which a changed key takes effect on a reload."""

    TASKS = "the tasks that read the table are replaced"
    LIVE = "in place"
    RESTART = "only by a restart"


class Unit(Enum):
    """Quantity of a number that is written with a unit."""

    DURATION = "duration"
    SIZE = "size"

    def format(self, value: float) -> str:
        """Return ``value`` (seconds or bytes) as the file writes it."""
        return format_duration(value) if self is Unit.DURATION else format_size(int(value))


@dataclass(frozen=True, slots=True)
class Was:
    """Marks a key that was elsewhere in an earlier version, at the dotted ``name``."""

    name: str

    @property
    def key(self) -> tuple[str, ...]:
        """Parts of the former name."""
        return tuple(self.name.split("."))


@dataclass(frozen=True, slots=True)
class Clash:
    """A key of a table whose value can't be accepted, mostly because of the value of the key ``other``."""

    key: str
    reason: str
    remedy: str
    other: str = ""


class Contradiction(ValueError):
    """Every clash in one table."""

    def __init__(self, found: tuple[Clash, ...]) -> None:
        self.found = found
        super().__init__("; ".join(clash.reason for clash in found))


Duration = Annotated[float, BeforeValidator(parse_duration), Unit.DURATION]
Size = Annotated[int, BeforeValidator(parse_size), Unit.SIZE]
Text = Annotated[str, BeforeValidator(values.text)]
AbsolutePath = Annotated[Path, BeforeValidator(values.absolute_path)]
OptionalPath = Annotated[Path | None, BeforeValidator(values.optional_path)]
SocketPath = Annotated[Path, BeforeValidator(values.socket_path)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, BeforeValidator(values.number)]
ContainerName = Annotated[str, BeforeValidator(values.container)]
OptionalCelsius = Annotated[
    Annotated[int, Field(strict=True, ge=0, le=150)] | None,
    BeforeValidator(lambda value: None if value == "" else value),
]


class Table(BaseModel):
    """A table of the configuration: frozen, and unknown keys are refused.

    A field that is itself a table is a table within, such as ``[gpu.governor]``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def contradictions(self) -> Iterator[Clash]:
        """Yield whatever can't hold together."""
        yield from ()

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if found := tuple(self.contradictions()):
            raise Contradiction(found)
        return self


def lies_in(inner: Path, outer: Path) -> bool:
    """Return whether ``inner`` is ``outer`` or below it, by their names alone: no link is followed."""
    return Path(os.path.normpath(inner)).is_relative_to(os.path.normpath(outer))
