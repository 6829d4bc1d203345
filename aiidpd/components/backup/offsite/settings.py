"""Table [offsite] and its list of repositories: where else the newest snapshot goes, and by which program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from aiidpd.config import values
from aiidpd.config.fields import Clash, Duration, OptionalPath, Size, Table, Text, Whole
from aiidpd.config.units import Malformed

KEEP: Final = ("last", "daily", "weekly", "monthly")
MOST_REPOSITORIES: Final = 16
MOST_PARTS: Final = 256  # restic divides packs by a byte of their name
_LONGEST_SECRET: Final = 64 * 1024
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,127}", re.ASCII)
_OURS: Final = ("LD_", "RESTIC_PASSWORD")
_REMOTE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@ -]{0,126}:[^\0]*|/[^\0]+", re.ASCII)
_USER_INFO: Final = re.compile(r"://[^/?#]*@")
_REMOTE_REMEDY: Final = 'write it as "NAME:path", where rclone.conf has the remote NAME'


def _password(value: object) -> str | None:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None:
        return None
    if not isinstance(text, str):
        raise Malformed("must be a string", "write it in quotes", hide=True)
    if "\n" in text or "\r" in text or "\0" in text or len(text) > _LONGEST_SECRET:
        raise Malformed("is more than one line", "write the password alone", hide=True)
    return text or None


def variables(text: str) -> dict[str, str]:
    """Return the variables of ``text``, lines of ``NAME=value``; raises :class:`Malformed`.

    Empty lines and those that begin with ``#`` are left out. No message repeats a line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, value = line.partition("=")
        name = name.strip()
        if not sign or not _VARIABLE.fullmatch(name) or "\0" in value:
            raise Malformed(f"is no variable in line {number}", "write each line as NAME=value", hide=True)
        if name.startswith(_OURS):
            raise Malformed(f"sets {name} in line {number}", "give a password as the key password", hide=True)
        found[name] = value.strip()
    return found


def _environment(value: object) -> str | None:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > _LONGEST_SECRET:
        raise Malformed("must be lines of NAME=value", "write it in quotes", hide=True)
    variables(text)
    return text or None


class RepositorySettings(Table):
    """One repository that the newest verified snapshot is sent to."""

    name: Annotated[str, BeforeValidator(values.name)] = Field(
        examples=["bucket"],
        description="How it is called in commands, metrics, events and credentials. Each name is used once.",
    )
    engine: Literal["restic", "rclone"] = Field(
        default="restic",
        description='The program that does it: "restic" stores encrypted, deduplicated snapshots, "rclone" a '
        "plain copy of the newest one, and beside it what was replaced or removed since.",
    )
    repository: Text = Field(
        default="",
        examples=["sftp:backup@nas:/srv/models"],
        description="Where it lies: for restic what its option -r takes, for rclone NAME:path. A URL that "
        "holds a password is refused: give it as RESTIC_REPOSITORY in the credential of environment.",
    )
    password: Annotated[SecretStr | None, BeforeValidator(_password)] = Field(
        default=None,
        description="The password of the restic repository, or of an encrypted rclone.conf. Better given as "
        "the credential aiidpd.offsite.repositories.NAME.password than written here.",
    )
    environment: Annotated[SecretStr | None, BeforeValidator(_environment)] = Field(
        default=None,
        description="Variables for the program alone, lines of NAME=value such as AWS_ACCESS_KEY_ID=...: the "
        "credential aiidpd.offsite.repositories.NAME.environment.",
    )
    rclone_config: OptionalPath = Field(
        default=None,
        description="The rclone.conf that has the remote; rclone needs it, restic's rclone: too.",
    )
    options: tuple[Text, ...] = Field(
        default=(),
        examples=[("-o", "sftp.command=ssh -i /etc/aiidpd/offsite_key backup@nas -s sftp")],
        description="Further options of the program, one argument each. Every user of the machine sees them: "
        "no secret belongs there.",
    )
    schedule: Annotated[str, BeforeValidator(values.calendar)] = Field(
        default="",
        description="When it is brought up to date, as backup.schedule is written. Empty: after each new "
        "snapshot.",
    )
    rate: Size = Field(
        default=0, ge=0, le=2**40, description="How many bytes a second are sent at most; 0 is no limit."
    )
    keep_last: Whole = Field(
        default=0,
        ge=0,
        le=10_000,
        description="How many of the newest snapshots stay in a restic repository. Where this and the three "
        "below are 0, each stays; the newest always does. With rclone nothing is removed, ever.",
    )
    keep_daily: Whole = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Of how many days the last snapshot stays.",
    )
    keep_weekly: Whole = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Of how many weeks the last snapshot stays.",
    )
    keep_monthly: Whole = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Of how many months the last snapshot stays.",
    )
    verify_parts: Whole = Field(
        default=10,
        ge=0,
        le=MOST_PARTS,
        description="In how many runs all that lies there is read back: each reads one part of so many. 1 "
        "reads all each time, 0 nothing.",
    )
    overdue_after: Duration = Field(
        default=14 * 86400.0,
        ge=60,
        le=366 * 86400,
        description="After how long without a success it is a condition.",
    )

    @property
    def removes(self) -> bool:
        """True where snapshots are removed at all."""
        return bool(self.keep_last or self.keep_daily or self.keep_weekly or self.keep_monthly)

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if self.engine == "restic":
            yield from self._restic()
        else:
            yield from self._rclone()

    def _restic(self) -> Iterator[Clash]:
        elsewhere = self.environment and "RESTIC_REPOSITORY" in variables(self.environment.get_secret_value())
        if not self.repository and not elsewhere:
            yield Clash("repository", "is missing", f"set where repository {self.name} lies")
        if self.repository.startswith("-"):
            yield Clash("repository", "begins with a dash", "write a path from the root, or a URL")
        if _USER_INFO.search(self.repository) and self.repository.startswith(("rest:", "s3:", "swift:")):
            remedy = "give the whole as RESTIC_REPOSITORY in the credential of environment"
            yield Clash("repository", "holds a user name or a password, and is shown and logged", remedy)

    def _rclone(self) -> Iterator[Clash]:
        if not self.repository:
            yield Clash("repository", "is missing", f"set where repository {self.name} lies")
        elif not _REMOTE.fullmatch(self.repository):
            yield Clash("repository", "is no remote of a rclone.conf and no absolute path", _REMOTE_REMEDY)
        for unit in KEEP:
            if getattr(self, f"keep_{unit}"):
                reason = "is for restic alone: with rclone nothing is removed"
                yield Clash(f"keep_{unit}", reason, "leave it out")


def _unique(given: tuple[RepositorySettings, ...]) -> tuple[RepositorySettings, ...]:
    names = [each.name for each in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Malformed(f"the name {', '.join(twice)} is used more than once", "give each its own name")
    places = [(each.engine, each.repository) for each in given if each.repository]
    if len(set(places)) < len(places):
        raise Malformed("one repository is listed twice", "list each once")
    if len(given) > MOST_REPOSITORIES:
        raise Malformed(f"are more than {MOST_REPOSITORIES} repositories", "list fewer")
    return given


class OffsiteSettings(Table):
    """Component backup: repositories elsewhere that get the newest snapshot, by restic or rclone."""

    restic: Text = Field(default="restic", description="The program restic: its name or its path.")
    rclone: Text = Field(default="rclone", description="The program rclone: its name or its path.")
    stall_after: Duration = Field(
        default=1800.0,
        ge=1,
        le=86400,
        description="How long nothing may move before a program is ended. restic retries for 15 minutes.",
    )
    repositories: Annotated[tuple[RepositorySettings, ...], AfterValidator(_unique)] = Field(
        default=(),
        description="The repositories, one [[offsite.repositories]] each, at the end of this table.",
    )
