"""Services of compose files, with what they extend, include and merge, and with variables put in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from aiidpd.components.audit.compose.document import Node, parse, read, value_of
from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.components.audit.compose.services_text import interpolate

_DEEPEST: Final = 16  # services or files, one in another
_MOST_FILES: Final = 64
_MOST_SERVICES: Final = 1000
_LARGEST: Final = 200_000  # values of all services together
_OF_FILES: Final = {"secrets": "/run/secrets", "configs": "/"}  # with the folder that they are mounted in
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Service:
    """One service: what compose would make of it. ``unknown`` are the keys in which a variable is left.

    ``directory`` is what its relative paths are below. ``line`` counts from 1.
    """

    name: str
    value: Mapping[str, Any]
    directory: Path
    file: str
    line: int
    unknown: frozenset[str] = frozenset()


@dataclass(slots=True)
class Project:
    """Everything that some files together declare."""

    services: dict[str, Service] = field(default_factory=dict)
    volumes: dict[str, Any] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    """Files of the host by key (secrets or configs) and name."""


def load(paths: Sequence[Path], directory: Path | None = None) -> Project:
    """Return what the files ``paths`` declare together, later ones over earlier ones. Blocks.

    Raises :class:`ComposeError`.
    """
    return _Loader(directory).project(paths)


class _Loader:
    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._read: dict[Path, tuple[Node, dict[str, Any]]] = {}

    def project(self, paths: Sequence[Path], depth: int = 0) -> Project:
        project = Project()
        raw: dict[str, tuple[dict[str, Any], Path, int]] = {}
        for path in paths:
            node, document = self._file(path)
            self._include(project, document, path, depth)
            for name, value in _map(document.get("services"), "services", path).items():
                if not _NAME.fullmatch(name):
                    raise ComposeError(f"{name[:60]!r} is no name of a service", file=str(path))
                resolved = self._extended(path, name, value, ())
                before = raw.get(name)
                merged = resolved if before is None else merge(before[0], resolved)
                raw[name] = merged, path, _line(node, name)
            project.volumes |= _map(document.get("volumes"), "volumes", path)
            project.files |= _files(document, path)
        if len(raw) + len(project.services) > _MOST_SERVICES:
            raise ComposeError(f"there are more than {_MOST_SERVICES} services")
        for name, (value, path, line) in raw.items():
            unknown: set[str] = set()
            filled = {key: _filled(each, key, unknown) for key, each in value.items()}
            if files := _mounted(filled, project):
                filled["volumes"] = [*(filled.get("volumes") or ()), *files]
            directory = self._directory or paths[0].parent
            project.services[name] = Service(name, filled, directory, str(path), line, frozenset(unknown))
        if _count([each.value for each in project.services.values()]) > _LARGEST:
            raise ComposeError(f"the services stand for more than {_LARGEST} values", file=str(paths[0]))
        return project

    def _file(self, path: Path) -> tuple[Node, dict[str, Any]]:
        path = path.absolute()
        found = self._read.get(path)
        if found is None:
            if len(self._read) >= _MOST_FILES:
                raise ComposeError(f"more than {_MOST_FILES} files are involved", file=str(path))
            node = parse(read(path), str(path))
            if node.kind != "map":
                raise ComposeError("it is no map of services", file=str(path), line=node.line + 1)
            try:
                found = self._read[path] = node, value_of(node)
            except ComposeError as error:
                raise error.within(str(path)) from None
        return found

    def _include(self, project: Project, document: Mapping[str, Any], path: Path, depth: int) -> None:
        given = document.get("include")
        if given is None:
            return
        if depth >= _DEEPEST:
            raise ComposeError("files include each other", file=str(path))
        if not isinstance(given, list):
            raise ComposeError("include must be a list of files", file=str(path))
        for each in given:
            wanted = each.get("path") if isinstance(each, dict) else each
            names = wanted if isinstance(wanted, list) else [wanted]
            files = [path.parent / name for name in names if isinstance(name, str)]
            if not files or len(files) < len(names):
                raise ComposeError("include must name files", file=str(path))
            inner = self.project(files, depth + 1)
            project.services |= inner.services
            project.volumes |= inner.volumes
            project.files |= inner.files

    def _extended(
        self, path: Path, name: str, value: Any, above: tuple[tuple[str, str], ...]
    ) -> dict[str, Any]:
        """Return the service with what it extends."""
        place = f"services.{name}"
        service = _map(value, place, path)
        given = service.get("extends")
        if given is None:
            return service
        if (str(path), name) in above or len(above) >= _DEEPEST:
            raise ComposeError(f"{place} extends itself, by way of others", file=str(path))
        wanted = {"service": given} if isinstance(given, str) else _map(given, f"{place}.extends", path)
        base, file = wanted.get("service"), wanted.get("file")
        if not isinstance(base, str) or not isinstance(file, str | None):
            raise ComposeError(f"{place}.extends must name a service", file=str(path))
        source = path.parent / file if file else path
        _, document = self._file(source)
        services = _map(document.get("services"), "services", source)
        if base not in services:
            raise ComposeError(f"{place} extends {base[:60]}, which is not in {source}", file=str(path))
        parent = self._extended(source, base, services[base], (*above, (str(path), name)))
        rest = {key: each for key, each in service.items() if key != "extends"}
        return merge({key: each for key, each in parent.items() if key != "extends"}, rest)


def _files(document: Mapping[str, Any], path: Path) -> dict[tuple[str, str], str]:
    """Return the files that secrets and configs of ``document`` are made of; others come from elsewhere."""
    found: dict[tuple[str, str], str] = {}
    for key in _OF_FILES:
        for name, each in _map(document.get(key), key, path).items():
            file = _filled(each.get("file"), key, set()) if isinstance(each, dict) else None
            if isinstance(file, str):
                found[key, name] = file
    return found


def _mounted(service: Mapping[str, Any], project: Project) -> list[dict[str, Any]]:
    """Return the files of secrets and configs that compose mounts into ``service``, each as a volume."""
    if not isinstance(service.get("volumes") or [], list):
        return []  # of a wrong type, which is said elsewhere
    found: list[dict[str, Any]] = []
    for key, folder in _OF_FILES.items():
        given = service.get(key)
        for each in given if isinstance(given, list) else ():
            entry = each if isinstance(each, dict) else {"source": each}
            name = str(entry.get("source"))
            if (key, name) in project.files:
                target = str(PurePosixPath(folder, str(entry.get("target") or name)))
                source = project.files[key, name]
                found.append({"type": "bind", "source": source, "target": target, "read_only": True})
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` laid over it, as compose does: maps are merged, most lists joined."""
    found = dict(base)
    for key, value in over.items():
        before = found.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            found[key] = merge(before, value)
        elif (
            isinstance(before, list)
            and isinstance(value, list)
            and key not in ("command", "entrypoint", "test")
        ):
            found[key] = [*before, *(each for each in value if each not in before)]
        elif (
            key in ("environment", "labels")
            and isinstance(before, dict | list)
            and isinstance(value, dict | list)
        ):
            found[key] = {**pairs(before), **pairs(value)}
        else:
            found[key] = value
    return found


def pairs(given: Any) -> dict[str, Any]:
    """Return names and values of a map, or of a list of ``NAME=value``; one without a value has None."""
    if isinstance(given, dict):
        return {str(key): value for key, value in given.items()}
    found: dict[str, Any] = {}
    for each in given if isinstance(given, list) else ():
        name, sign, value = str(each).partition("=")
        found[name] = value if sign else None
    return found


def _filled(value: Any, key: str, unknown: set[str]) -> Any:
    if isinstance(value, str):
        text, left = interpolate(value) if "$" in value else (value, False)
        if left:
            unknown.add(key)
        return text
    if isinstance(value, list):
        return [_filled(each, key, unknown) for each in value]
    if isinstance(value, dict):
        return {name: _filled(each, key, unknown) for name, each in value.items()}
    return value


def _map(value: Any, place: str, path: Path) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "a single value"
        raise ComposeError(f"{place} must be a map, and is {kind}", file=str(path))
    return value


def _line(node: Node, name: str) -> int:
    services = node.get("services")
    found = services[1].get(name) if services is not None and services[1].kind == "map" else None
    return found[0].line + 1 if found is not None else 1


def _count(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(_count(each) for each in value.values())
    if isinstance(value, list):
        return 1 + sum(_count(each) for each in value)
    return 1
