"""Services that containers were made of, from the compose files that their labels name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from aiidpd.components.audit.compose.facts import facts_of
from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.components.audit.compose.services import Project, load
from aiidpd.components.audit.facts import Declared
from aiidpd.contracts.inspections import Inspection

_PREFIX: Final = "com.docker.compose."
_MOST_FILES: Final = 8
_MOST_PROJECTS: Final = 100
_NO: Final = frozenset({"", "false"})
# Keys whose variables reach several facts.
_REACH: Final = {"deploy": ("mem_limit", "pids_limit"), "mem_limit": ("mem_limit",)}


@dataclass(frozen=True, slots=True)
class _Files:
    paths: tuple[str, ...]
    directory: str


class DeclaredServices:
    """Reads compose files; one that did not change is not read again."""

    def __init__(self) -> None:
        self._known: dict[_Files, tuple[object, Project | str]] = {}
        self._made: dict[tuple[_Files, str], tuple[object, Declared]] = {}

    def find(self, containers: Iterable[Inspection]) -> Mapping[str, Declared]:
        """Return the service of each container that compose made, by the container's id. Blocks."""
        found: dict[str, Declared] = {}
        used: dict[_Files, tuple[object, Project | str]] = {}
        for each in containers:
            files = _files(each)
            if files is None:
                continue
            if files not in used:
                if len(used) >= _MOST_PROJECTS:
                    continue
                used[files] = self._read(files)
            stamp, project = used[files]
            found[each.id] = self._service(files, stamp, project, each.labels[f"{_PREFIX}service"])
        self._known = used
        self._made = {key: each for key, each in self._made.items() if key[0] in used}
        return found

    def _read(self, files: _Files) -> tuple[object, Project | str]:
        stamp = tuple(map(_stamp, files.paths))
        known = self._known.get(files)
        if known is not None and known[0] == stamp:
            return known
        try:
            return stamp, load([Path(each) for each in files.paths], Path(files.directory))
        except ComposeError as error:
            return stamp, str(error)
        except OSError as error:
            return stamp, (error.strerror or "error").lower()

    def _service(self, files: _Files, stamp: object, project: Project | str, name: str) -> Declared:
        before = self._made.get((files, name))
        if before is not None and before[0] == stamp:
            return before[1]
        made = _declared(files, project, name)
        self._made[files, name] = stamp, made
        return made


def _declared(files: _Files, project: Project | str, name: str) -> Declared:
    file = files.paths[0]
    if isinstance(project, str):
        return Declared(file=file, problem=project)
    service = project.services.get(name)
    if service is None:
        return Declared(file=file, missing=True)
    try:
        facts = facts_of(name, service.value, files.directory, project.volumes)
    except ComposeError as error:
        return Declared(file=file, problem=str(error))
    unknown = {each for key in service.unknown for each in (key, *_REACH.get(key, ()))}
    return Declared(facts, file, unknown=frozenset(unknown))


def _files(container: Inspection) -> _Files | None:
    """Return the files that the labels of ``container`` name, None where compose did not make it."""
    labels = container.labels
    directory = labels.get(f"{_PREFIX}project.working_dir", "")
    given = labels.get(f"{_PREFIX}project.config_files", "").split(",")
    oneoff = labels.get(f"{_PREFIX}oneoff", "").lower() not in _NO
    if not labels.get(f"{_PREFIX}service") or not directory.startswith("/") or oneoff:
        return None
    paths = tuple(str(PurePosixPath(directory, each)) for each in given if each)
    return _Files(paths, directory) if 0 < len(paths) <= _MOST_FILES else None


def _stamp(path: str) -> object:
    try:
        state = os.stat(path)  # noqa: PTH116 -- in each audit
    except (OSError, ValueError) as error:
        return type(error).__name__
    return state.st_mtime_ns, state.st_size, state.st_ino
