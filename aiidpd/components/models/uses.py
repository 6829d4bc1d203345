"""Uses of models: by engines that have them loaded, processes that have them open, containers (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiidpd.components.models.scanned import ScannedModel
from aiidpd.contracts.containers import ContainerSummary, Mount
from aiidpd.contracts.engines import EngineState, Residency

MOST_USES: Final = 50
_HELD: Final = frozenset({Residency.LOADED, Residency.SLEEPING, Residency.LOADING})


class UseKind(StrEnum):
    """Kind of use, the strongest first."""

    LOADED = "loaded"
    """An engine reports it as its model."""
    OPEN = "open"
    """A process has a file of it open or mapped."""
    NAMED = "named"
    """A container's command line names it."""
    MOUNTED = "mounted"
    """A container has a folder mounted that it lies in."""


_ORDER: Final = {kind: place for place, kind in enumerate(UseKind)}


@dataclass(frozen=True, slots=True)
class ModelUse:
    """One use of a model; what does not apply is empty or None."""

    kind: UseKind
    container: str = ""
    """Name of the container."""
    engine: str = ""
    """Name of the engine."""
    pid: int | None = None
    program: str = ""

    @property
    def by(self) -> str:
        """Return who uses it, for people."""
        if self.engine:
            return f"engine {self.engine}"
        if self.container:
            return f"container {self.container}"
        return f"{self.program or 'a process'} ({self.pid})"


@dataclass(frozen=True, slots=True)
class OpenedBy:
    """A process that has a file of the model with ``key`` open."""

    key: str
    pid: int
    program: str
    container: str


class _Uses:
    """Uses of each model, the strongest of each container or process."""

    def __init__(self, models: Iterable[ScannedModel]) -> None:
        self._found: dict[str, dict[tuple[str, str, int | None], ModelUse]] = {
            model.key: {} for model in models
        }

    def add(self, key: str, use: ModelUse) -> None:
        uses = self._found.get(key)
        if uses is None:
            return
        who = (use.container, "", None) if use.container else ("", use.engine, use.pid)
        before = uses.get(who)
        if before is None or _ORDER[use.kind] < _ORDER[before.kind]:
            uses[who] = use

    def sorted(self) -> dict[str, tuple[ModelUse, ...]]:
        return {
            key: tuple(sorted(uses.values(), key=_place))[:MOST_USES] for key, uses in self._found.items()
        }


def _place(use: ModelUse) -> tuple[int, str, str]:
    return _ORDER[use.kind], use.container, use.engine


def uses_of(
    models: Sequence[ScannedModel],
    containers: Sequence[ContainerSummary],
    engines: Sequence[EngineState],
    opened: Iterable[OpenedBy],
) -> dict[str, tuple[ModelUse, ...]]:
    """Return the uses of each model by its key, the strongest of each container or process, bounded."""
    found = _Uses(models)
    by_id = {container.id: container for container in containers}
    for container in containers:
        for model in models if container.running else ():
            if is_mounted(model, container.mounts):
                kind = UseKind.NAMED if is_named(model, container) else UseKind.MOUNTED
                found.add(model.key, ModelUse(kind, container.name))
    for process in opened:
        runs_in = by_id.get(process.container)
        name = runs_in.name if runs_in else process.container[:12]
        found.add(process.key, ModelUse(UseKind.OPEN, name, "", process.pid, process.program))
    for engine in engines:
        if engine.residency in _HELD and not engine.simulated:
            runs_in = by_id.get(engine.container)
            name = runs_in.name if runs_in else ""
            for model in loaded_by(engine, models, runs_in):
                found.add(model.key, ModelUse(UseKind.LOADED, name, engine.name))
    return found.sorted()


def is_mounted(model: ScannedModel, mounts: Iterable[Mount]) -> bool:
    """Return whether a mount holds a file of ``model``."""
    sources = [mount.source.rstrip("/") for mount in mounts]
    paths = [*model.places, *(file.path for file in model.files)]
    return any(path == source or path.startswith(f"{source}/") for source in sources for path in paths)


def is_named(model: ScannedModel, container: ContainerSummary) -> bool:
    """Return whether the command line of ``container`` names ``model``: by a path, or by its name."""
    texts = [
        text.partition("=")[2] if text.startswith("-") and "=" in text else text
        for text in container.arguments
    ]
    words = {text.rstrip("/") for text in texts if text}
    places = inside_of(model.places, container.mounts)
    return bool(words & {*places, *names_of(model)})


def inside_of(paths: Iterable[str], mounts: Iterable[Mount]) -> set[str]:
    """Return how a container with ``mounts`` calls ``paths`` of the host, those that it has."""
    found = set()
    known = [(mount.source.rstrip("/"), mount.destination.rstrip("/")) for mount in mounts]
    for path in paths:
        for source, destination in known:
            if path == source or path.startswith(f"{source}/"):
                found.add(f"{destination}{path[len(source) :]}")
    return found


def names_of(model: ScannedModel) -> set[str]:
    """Return the names by which engines call ``model``; its revision is not among them."""
    name = model.model.name
    found = {name, name.removesuffix(":latest")}
    if model.model.repository and not name.startswith(f"{model.model.repository}:"):
        found.add(model.model.repository)
    return found - {""}


def loaded_by(
    engine: EngineState, models: Sequence[ScannedModel], container: ContainerSummary | None
) -> tuple[ScannedModel, ...]:
    """Return the models that ``engine`` may have loaded: by the name that it reports, else by its container.

    Of several revisions those that a branch names count, where there are such.
    """
    mounts = container.mounts if container is not None else ()
    wanted = engine.model.rstrip("/")
    found = []
    if wanted:
        for model in models:
            places = inside_of(model.places, mounts) if container is not None else set(model.places)
            files = {place.rpartition("/")[2] for place in model.places if place.endswith(".gguf")}
            if wanted in names_of(model) | places | files:
                found.append(model)
    if not found and container is not None:
        found = [model for model in models if is_named(model, container)]
    if container is not None and mounts:
        found = [model for model in found if is_mounted(model, mounts)] or found
    return tuple([model for model in found if model.model.refs] or found)
