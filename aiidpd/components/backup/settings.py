"""Table [backup]: which folder is backed up, where to, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field

from aiidpd.config import values
from aiidpd.config.fields import Clash, OptionalPath, Size, Table, Text, lies_in


class BackupSettings(Table):
    """Component backup: verified copies of the model folder. It idles until source and target are set."""

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
        "where no zone is named. Empty: only on request.",
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

    @property
    def missing_keys(self) -> tuple[str, ...]:
        """Keys that have to be set before a backup can run."""
        keys = {"backup.source": self.source, "backup.target": self.target}
        return tuple(key for key, value in keys.items() if value is None)

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
