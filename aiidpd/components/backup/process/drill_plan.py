"""Sample of a drill: files of the models whose last proven restore is the oldest (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from aiidpd.components.backup.process.manifest import FileEntry, Manifest
from aiidpd.components.backup.process.restore_plan import parents

_WEIGHTS: Final = 1024 * 1024  # bytes from which on a file makes its folder a model
_HUB: Final = ("models--", "datasets--")
REST: Final = "."
"""Name of what belongs to no model."""


@dataclass(frozen=True, slots=True)
class Model:
    """Files of a snapshot that are used together. ``name`` is a path: of their folder, or of the one file."""

    name: str
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Age:
    """Ages of all models of a snapshot: since when each is proven to restore (Unix seconds).

    ``oldest_at`` is None where there is a model that was never restored whole; ``never`` counts those.
    """

    restored_at: Mapping[str, float]
    known: int
    never: int
    oldest_at: float | None


def models_of(manifest: Manifest) -> list[Model]:
    """Return the models of a snapshot: a cache's ``models--*`` folders, and folders that hold a large file.

    A smaller file belongs to the model above it. Each file is in one model, payloads that several share
    in that of their own folder.
    """
    homes = {_hub(file.path) or _folder(file) for file in manifest.files if file.size >= _WEIGHTS}
    homes |= {_hub(file.path) for file in manifest.files} - {""}
    found: dict[str, list[FileEntry]] = {}
    for file in manifest.files:
        found.setdefault(_home(file.path, homes), []).append(file)
    return [Model(name, tuple(files)) for name, files in sorted(found.items())]


def _hub(path: str) -> str:
    return next((each for each in parents(path) if each.rpartition("/")[2].startswith(_HUB)), "")


def _folder(file: FileEntry) -> str:
    return file.path.rpartition("/")[0] or file.path


def _home(path: str, homes: set[str]) -> str:
    return next((each for each in (path, *reversed(tuple(parents(path)))) if each in homes), REST)


def restored_at(files: Iterable[FileEntry], restored: Mapping[str, float]) -> float | None:
    """Return since when each of ``files`` is proven to restore, None where one never was."""
    times = [restored.get(file.sha256) for file in files]
    known = [time for time in times if time is not None]
    return min(known, default=None) if len(known) == len(times) else None


def sample(
    models: Sequence[Model],
    restored: Mapping[str, float],
    failed: Mapping[str, float],
    *,
    budget: int,
    seed: int,
) -> list[FileEntry]:
    """Return the files to restore: of ``budget`` bytes together, or one that is larger.

    ``restored`` and ``failed`` map contents to when they were last tried with that outcome. Models come in
    the order of their oldest try, the files of one likewise; ``seed`` decides between equals.
    """
    tried = {each: max(restored.get(each, 0.0), failed.get(each, 0.0)) for each in {*restored, *failed}}
    order = sorted(
        models,
        key=lambda model: (
            min(tried.get(file.sha256, 0.0) for file in model.files),
            sha256(f"{seed} {model.name}".encode("utf-8", "surrogateescape")).digest(),
        ),
    )
    chosen: list[FileEntry] = []
    seen: set[str] = set()
    left = budget
    for model in order:
        for file in sorted(model.files, key=lambda file: tried.get(file.sha256, 0.0)):
            if file.sha256 not in seen and (file.size <= left or not chosen):
                chosen.append(file)
                seen.add(file.sha256)
                left -= file.size
    return chosen


def ages(models: Sequence[Model], restored: Mapping[str, float]) -> Age:
    """Return since when each model is proven to restore."""
    times = {model.name: restored_at(model.files, restored) for model in models}
    known = {name: time for name, time in times.items() if time is not None}
    never = len(times) - len(known)
    return Age(known, len(times), never, min(known.values(), default=None) if not never else None)
