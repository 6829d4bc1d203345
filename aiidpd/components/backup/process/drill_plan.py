"""Sample of a drill: files of the models whose last proven restore is the oldest (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from aiidpd.components.backup.process.manifest import FileEntry
from aiidpd.components.backup.process.models import Model


@dataclass(frozen=True, slots=True)
class Age:
    """Ages of all models of a snapshot: since when each is proven to restore (Unix seconds).

    ``oldest_at`` is None where there is a model that was never restored whole; ``never`` counts those.
    """

    restored_at: Mapping[str, float]
    known: int
    never: int
    oldest_at: float | None


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
