"""Table [backup]: which folder is backed up, where to, when, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field

from aiidpd.config import values
from aiidpd.config.fields import Clash, Duration, OptionalPath, Size, Table, Text, Whole, lies_in

OptionalSize = Annotated[Size, BeforeValidator(lambda value: "0B" if value == "" else value)]
_MOST = 10_000


class RetentionSettings(Table):
    """Snapshots that are kept; a snapshot stays while one of the keys keeps it.

    Days, weeks and months are those of local time, and only those that have a snapshot count: an old
    snapshot does not go because the machine was off for a month. With the first four at 0 nothing goes for
    its age. Whatever they say, the newest whole snapshot stays, and so does the last copy of what the
    source still has.
    """

    keep_last: Whole = Field(default=3, ge=0, le=_MOST, description="The newest snapshots that are kept.")
    keep_daily: Whole = Field(
        default=7, ge=0, le=_MOST, description="The newest days of which the last snapshot is kept."
    )
    keep_weekly: Whole = Field(
        default=4,
        ge=0,
        le=_MOST,
        description="The newest weeks (from Monday on) of which the last snapshot is kept.",
    )
    keep_monthly: Whole = Field(
        default=12,
        ge=0,
        le=_MOST,
        description="The newest months of which the last snapshot is kept. What was removed from the source "
        "by mistake is to be found for so long.",
    )
    max_size: OptionalSize = Field(
        default=0,
        ge=0,
        le=2**60,
        description="Size of all snapshots together, each content counted once, above which the oldest go, "
        "whatever the numbers above keep. 0B or empty: no bound but the disk.",
    )
    pins: tuple[Text, ...] = Field(
        default=(), description="Snapshots that are always kept, by their names in the target's snapshots."
    )


class VerifySettings(Table):
    """Verification of what is stored: each byte is read again within a time, and the source compared."""

    within: Duration = Field(
        default=30 * 86400.0,
        ge=86400,
        le=3650 * 86400,
        description="The time within which each byte on the target is read again; what a backup has just "
        "written is read first of all.",
    )
    schedule: Annotated[str, BeforeValidator(values.calendar)] = Field(
        default="*-*-* 04:30:00",
        description="When what is due is read, as backup.schedule says it. Empty: only after backups and on "
        "request.",
    )
    source_within: Duration = Field(
        default=90 * 86400.0,
        ge=0,
        le=3650 * 86400,
        description="The time within which each byte of the source is compared with what was backed up, "
        "which finds a disk that rots before a good copy is replaced. 0s: never.",
    )
    heal: bool = Field(
        default=True,
        description="Whether damaged content is replaced where another copy of it is proven to be good.",
    )


class DrillSettings(Table):
    """Drills: a sample is restored to a scratch folder and compared, to prove that it would be."""

    schedule: Annotated[str, BeforeValidator(values.calendar)] = Field(
        default="*-*-01 05:00:00",
        description="When a drill is held, as backup.schedule says it. Empty: only on request.",
    )
    size: Size = Field(
        default=20 * 2**30,
        ge=2**20,
        le=2**50,
        description="Size of the sample at most; the models that were not restored since longest come first.",
    )
    scratch: OptionalPath = Field(
        default=None,
        description="The folder for the sample, for nothing else. Empty: one in daemon.state_directory.",
    )


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
    jitter: Duration = Field(
        default=600.0,
        ge=0,
        le=86400,
        description="Up to how much later than the schedule says a backup starts, so that machines with one "
        "schedule don't all start on one target at once. How much it is depends on the machine and the "
        "scheduled time alone: no restart changes it. 0s: on time.",
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
    rate: OptionalSize = Field(
        default=0, ge=0, le=2**40, description="Bytes a second that are read at most. 0B or empty: no limit."
    )
    xattrs: bool = Field(default=False, description="Whether extended attributes of files are recorded.")
    pause_while_loading: bool = Field(
        default=True,
        description="Whether the work waits while an inference engine loads a model, for an hour at most.",
    )
    retention: RetentionSettings = RetentionSettings()
    verify: VerifySettings = VerifySettings()
    drill: DrillSettings = DrillSettings()

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
