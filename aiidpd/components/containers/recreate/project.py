"""Project of compose that a container belongs to, read from its labels (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from aiidpd.components.containers.recreate.described import Description, labels

_PREFIX: Final = "com.docker.compose."
_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,200}", re.ASCII)
_SERVICE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,200}", re.ASCII)
_NO: Final = frozenset({"", "false"})


@dataclass(frozen=True, slots=True)
class ComposeService:
    """Service of a project, its files as compose was given them, and the hash of its configuration then.

    A file may be relative to ``directory``. ``number`` is that of the container among those of the service.
    ``major`` is compose's own version, 0 where the label does not say.
    """

    project: str
    service: str
    number: str
    directory: str
    files: tuple[str, ...]
    environment_files: tuple[str, ...]
    config_hash: str
    major: int

    @property
    def paths(self) -> tuple[str, ...]:
        """Absolute paths of all files that it needs."""
        return tuple(
            str(PurePosixPath(self.directory, each)) for each in (*self.files, *self.environment_files)
        )

    @property
    def selectors(self) -> tuple[str, ...]:
        """Labels that every container of the service has."""
        return (f"{_PREFIX}project={self.project}", f"{_PREFIX}service={self.service}")


def find_service(container: Description) -> tuple[ComposeService | None, str]:
    """Return the service that ``container`` is one of, or None and why compose can't create it anew.

    The reason is empty where compose did not make it.
    """
    found = {
        key.removeprefix(_PREFIX): str(value)
        for key, value in labels(container).items()
        if key.startswith(_PREFIX)
    }
    if "project" not in found or "service" not in found:
        return None, ""
    if not _PROJECT.fullmatch(found["project"]) or not _SERVICE.fullmatch(found["service"]):
        return None, "its labels name no project or service that compose would accept"
    if found.get("oneoff", "").lower() not in _NO:
        return None, "it is a one-off container of `compose run`"
    directory = found.get("project.working_dir", "")
    files = tuple(each for each in found.get("project.config_files", "").split(",") if each)
    more = tuple(each for each in found.get("project.environment_file", "").split(",") if each)
    if not directory.startswith("/") or not files or any(each.startswith("-") for each in (*files, *more)):
        return None, "its labels do not name the compose file"
    return (
        ComposeService(
            found["project"],
            found["service"],
            found.get("container-number", "1"),
            directory,
            files,
            more,
            found.get("config-hash", ""),
            _major(found.get("version", "")),
        ),
        "",
    )


def arguments(service: ComposeService) -> tuple[str, ...]:
    """Return the arguments that stand before each command of compose."""
    files = tuple(part for file in service.files for part in ("-f", file))
    environment = tuple(part for file in service.environment_files for part in ("--env-file", file))
    return ("-p", service.project, *files, "--project-directory", service.directory, *environment)


def up(service: ComposeService, grace: float, *, never_pull: bool) -> tuple[str, ...]:
    """Return the arguments that have compose create the service anew, and nothing else."""
    pull = ("--pull", "never") if never_pull else ()
    seconds = str(max(0, round(grace)))
    options = ("-d", "--no-deps", "--force-recreate", "--no-build", *pull, "-t", seconds)
    return (*arguments(service), "up", *options, "--", service.service)


def _major(version: str) -> int:
    head = version.removeprefix("v").partition(".")[0]
    return int(head) if head.isascii() and head.isdigit() and len(head) < 4 else 0  # noqa: PLR2004 -- digits
