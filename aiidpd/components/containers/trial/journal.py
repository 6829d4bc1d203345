"""Journal of trials of images: what is under way, on disk before each step that would need to be undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from aiidpd.components.containers.trial.state import ImageTrial, Phase
from aiidpd.platform.statefile import StateFile

NAME: Final = "image-trials.json"
REMEDY: Final = (
    "see with `docker ps -a --filter name=-aiidpd-` what is left of a trial, rename or remove it, and remove "
    "the file"
)


@dataclass(frozen=True, slots=True)
class ImageTrials:
    """Trials that were begun and not ended."""

    version: Literal[1]
    active: tuple[ImageTrial, ...]


class TrialJournal:
    """Journal at ``path``: one for the life of the daemon.

    :meth:`load` blocks on the disk, and so does what the others return.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Root may write it, by `aiidpd restore-gpus`, and the daemon has to read it then.
        self._file = StateFile(path, ImageTrials, remedy=REMEDY, indent=1, mode=0o644)
        self._active: dict[str, ImageTrial] = {}
        self._loaded = False

    @property
    def loaded(self) -> bool:
        """True once the file was read."""
        return self._loaded

    @property
    def active(self) -> tuple[ImageTrial, ...]:
        """Trials that were begun and not ended."""
        return tuple(self._active.values())

    def load(self) -> tuple[ImageTrial, ...]:
        """Read the file, at the first call; return the trials that an earlier process has left then.

        Each of them is to go back, but one that was about to be kept. Raises
        :class:`~aiidpd.platform.statefile.StateUnreadable`.
        """
        if self._loaded:
            return ()
        found = self._file.load()
        if found is not None:
            self._active = {each.trial: left_behind(each) for each in found.active}
        self._loaded = True
        return self.active

    def saving(self, entry: ImageTrial) -> Callable[[], None]:
        """Return what a thread is to carry out, so that the journal has ``entry``. It raises OSError."""
        self._active[entry.trial] = entry
        return self._save()

    def ending(self, entry: ImageTrial) -> Callable[[], None]:
        """Return what a thread is to carry out, so that ``entry`` is over."""
        self._active.pop(entry.trial, None)
        return self._save()

    def _save(self) -> Callable[[], None]:
        return self._file.saving(ImageTrials(1, self.active) if self._active else None)


def left_behind(entry: ImageTrial) -> ImageTrial:
    """Return ``entry`` as a process takes it up that did not begin it."""
    if entry.phase is not Phase.TRYING:
        return entry
    return replace(entry, phase=Phase.RETURNING, reason=entry.reason or "the daemon ended in the middle")
