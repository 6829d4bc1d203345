"""Models of a snapshot: files that are used together, by where they lie (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from aiidpd.components.backup.process.manifest import FileEntry, Manifest

_WEIGHTS: Final = 1024 * 1024  # bytes from which on a file makes its folder a model
_HUB: Final = ("models--", "datasets--")
REST: Final = "."
"""Name of what belongs to no model."""


@dataclass(frozen=True, slots=True)
class Model:
    """Files of a snapshot that are used together. ``name`` is a path: of their folder, or of the one file."""

    name: str
    files: tuple[FileEntry, ...]


def models_of(manifest: Manifest) -> list[Model]:
    """Return the models of a snapshot: a cache's ``models--*`` folders, and folders that hold a large file.

    A smaller file belongs to the model above it. Each file is in one model, payloads that several share
    in that of their own folder.
    """
    homes = homes_of(manifest.files)
    found: dict[str, list[FileEntry]] = {}
    for file in manifest.files:
        found.setdefault(home_of(file.path, homes), []).append(file)
    return [Model(name, tuple(files)) for name, files in sorted(found.items())]


def homes_of(files: Iterable[FileEntry]) -> set[str]:
    """Return the names of the models that ``files`` make."""
    homes = set()
    for file in files:
        hub = _hub(file.path)
        if hub:
            homes.add(hub)
        elif file.size >= _WEIGHTS:
            homes.add(file.path.rpartition("/")[0] or file.path)
    return homes


def home_of(path: str, homes: AbstractSet[str]) -> str:
    """Return the model that ``path`` belongs to: the innermost of ``homes``, or :data:`REST`."""
    return next((each for each in (path, *parents(path)) if each in homes), REST)


def parents(path: str) -> Iterator[str]:
    """Yield the folders above ``path``, the innermost first."""
    end = path.rfind("/")
    while end > 0:
        path = path[:end]
        yield path
        end = path.rfind("/")


def _hub(path: str) -> str:
    """Return the uppermost folder of a cache that is one model, empty for none."""
    if not any(mark in path for mark in _HUB):
        return ""
    found = [each for each in parents(path) if each.rpartition("/")[2].startswith(_HUB)]
    return found[-1] if found else ""
