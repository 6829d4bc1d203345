"""Journal of re-creations: what is under way, on disk before each step, to be finished or undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from aiidpd.components.containers.recreate.state import Recreation
from aiidpd.platform.statefile import StateFile

NAME: Final = "recreations.json"
REMEDY: Final = (
    "see with `docker ps -a --filter name=-aiidpd-` what is left of a re-creation, rename or remove it, and "
    "remove the file"
)
_MOST_SUCCESSORS: Final = 200


@dataclass(frozen=True, slots=True)
class Successor:
    """Container ``new`` in the place of ``old``, which is gone: others may refer to that one."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Recreations:
    """Re-creations that are under way, and the newest of those that were finished."""

    version: Literal[1]
    active: tuple[Recreation, ...]
    successors: tuple[Successor, ...] = ()


class RecreationJournal:
    """Journal at ``path``: one for the life of the daemon.

    :meth:`load` blocks on the disk, and so does what the others return.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Root may write it, by `aiidpd restore-gpus`, and the daemon has to read it then.
        self._file = StateFile(path, Recreations, remedy=REMEDY, indent=1, mode=0o644)
        self._active: dict[str, Recreation] = {}
        self._successors: dict[str, str] = {}
        self._loaded = False

    @property
    def active(self) -> tuple[Recreation, ...]:
        """Re-creations that were begun and not ended."""
        return tuple(self._active.values())

    @property
    def successors(self) -> Mapping[str, str]:
        """Ids of containers in the place of others, by the ids of those."""
        return self._successors

    def load(self) -> None:
        """Read the file, at the first call. Raises :class:`~aiidpd.platform.statefile.StateUnreadable`."""
        if self._loaded:
            return
        found = self._file.load()
        if found is not None:
            self._active = {each.old: each for each in found.active}
            self._successors = {each.old: each.new for each in found.successors}
        self._loaded = True

    def saving(self, entry: Recreation) -> Callable[[], None]:
        """Return what a thread is to carry out, so that the journal has ``entry``. It raises OSError."""
        self._active[entry.old] = entry
        return self._save()

    def ending(self, entry: Recreation, new: str = "") -> Callable[[], None]:
        """Return what a thread is to carry out, so that ``entry`` is over and ``new`` in its place."""
        self._active.pop(entry.old, None)
        if new:
            self._successors = _followed(self._successors, entry.old, new)
        return self._save()

    def succeeding(self, old: str, new: str) -> Callable[[], None]:
        """Return what a thread is to carry out, so that ``new`` is known to be in the place of ``old``."""
        self._successors = _followed(self._successors, old, new)
        return self._save()

    def _save(self) -> Callable[[], None]:
        if not self._active and not self._successors:
            return self._file.saving(None)
        return self._file.saving(Recreations(1, self.active, tuple(_pairs(self._successors.items()))))


def _pairs(found: Iterable[tuple[str, str]]) -> Iterable[Successor]:
    return (Successor(old, new) for old, new in found)


def _followed(successors: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    """Return ``successors`` with ``new`` in the place of ``old``, and of all that ``old`` had followed."""
    moved = {key: new if value == old else value for key, value in successors.items()}
    moved.pop(old, None)
    moved[old] = new
    return dict(list(moved.items())[-_MOST_SUCCESSORS:])
