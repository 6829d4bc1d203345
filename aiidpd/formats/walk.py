"""Folders listed in order and within bounds: never through a link, never without end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ENTRIES_LIMIT: Final = 200_000
_FAULTS_LIMIT: Final = 100
_DEPTH_LIMIT: Final = 32


@dataclass(slots=True)
class Budget:
    """Entries that a reader may still list, and what it could not read."""

    entries: int = ENTRIES_LIMIT
    complete: bool = True
    unreadable: list[str] = field(default_factory=list)

    def spend(self) -> bool:
        """Count one entry; return whether it is still allowed."""
        if self.entries <= 0:
            self.complete = False
            return False
        self.entries -= 1
        return True

    def failed(self, path: str | Path, error: Exception) -> None:
        """Record that ``path`` could not be read."""
        if len(self.unreadable) < _FAULTS_LIMIT:
            reason = (error.strerror or "error").lower() if isinstance(error, OSError) else str(error)
            self.unreadable.append(f"{path}: {reason}")
        else:
            self.complete = False


def entries(path: Path, budget: Budget) -> list[str]:
    """Return the names in the folder at ``path``, sorted; none where it is missing or can't be read."""
    return [entry.name for entry in _listed(path, budget)]


def _any(_: Path) -> bool:
    return True


def files_below(path: Path, budget: Budget, into: Callable[[Path], bool] = _any) -> Iterator[str]:
    """Yield the paths below ``path`` of all that is no folder, in order. Links are yielded, not followed.

    ``into``: called with each folder below ``path`` before it is listed; one that it refuses is passed over.
    """
    waiting = [("", 0)]
    while waiting:
        prefix, depth = waiting.pop()
        folders = []
        if prefix and not into(path / prefix):
            continue
        for entry in _listed(path / prefix, budget):
            if not entry.is_dir(follow_symlinks=False):
                yield f"{prefix}{entry.name}"
            elif depth < _DEPTH_LIMIT:
                folders.append((f"{prefix}{entry.name}/", depth + 1))
            else:
                budget.complete = False
        waiting += reversed(folders)


def _listed(path: Path, budget: Budget) -> list[os.DirEntry[str]]:
    found = []
    try:
        with os.scandir(path) as listing:
            for entry in listing:
                if not budget.spend():
                    break
                found.append(entry)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        budget.failed(path, error)
    return sorted(found, key=lambda entry: entry.name)
