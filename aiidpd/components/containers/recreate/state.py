"""State of a re-creation: what is known of it on disk, and what the runtime shows of it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiidpd.components.containers.recreate.described import SHORT, Description, name_of, runs

OLD_MARK: Final = "-aiidpd-old-"
"""Part of the name of a container whose place another has for a while."""
NEW_MARK: Final = "-aiidpd-new-"
"""Part of the name of a container that has no place yet."""


class Phase(StrEnum):
    """Part of a re-creation that may have begun."""

    CREATING = "creating"
    """The copy is made under a name of its own; the old container was not touched."""

    SWAPPING = "swapping"
    """The copy is proven, and is about to take the place of the old one."""

    RESTORING = "restoring"
    """The old one is about to get its place back."""

    COMPOSING = "composing"
    """Compose is at work."""


@dataclass(frozen=True, slots=True)
class Recreation:
    """A container ``name`` with the id ``old`` that is being created anew, since ``at`` (Unix seconds).

    ``token`` makes the names of its two containers, and marks compose's process. ``new`` is the id of the
    copy, empty while it is not known. ``ran``: the old one ran, and ``run`` distinguishes that run of it from
    others, as the runtime has it (StartedAt). ``grace`` is how many seconds it gets to end. ``selectors`` are
    labels of the containers that compose may have made for it.
    """

    old: str
    name: str
    token: str
    phase: Phase
    ran: bool
    grace: float
    at: float
    run: str
    new: str = ""
    selectors: tuple[str, ...] = ()

    @property
    def old_name(self) -> str:
        """Name of the old container while it waits for its end."""
        return f"{self.name}{OLD_MARK}{self.token}"

    @property
    def new_name(self) -> str:
        """Name of the copy until it is proven."""
        return f"{self.name}{NEW_MARK}{self.token}"

    @property
    def composes_name(self) -> str:
        """Name that compose gives for a moment to one of the two: its first version to the old one."""
        return f"{self.old[:SHORT]}_{self.name}"

    def validate(self) -> None:
        """Raise ValueError where it names nothing."""
        if not (self.old and self.name and self.token):
            raise ValueError("an id, name or token must not be empty")


@dataclass(frozen=True, slots=True)
class Place:
    """A container as the runtime shows it now; ``run`` as in :class:`Recreation`."""

    name: str
    runs: bool
    run: str = ""


def place_of(found: Description | None) -> Place | None:
    """Return the place that a described container has, None for one that does not exist."""
    if found is None:
        return None
    return Place(name_of(found), runs(found), str(found["State"].get("StartedAt") or ""))


@dataclass(frozen=True, slots=True)
class Situation:
    """Both containers, None for one that does not exist.

    ``taken``: a third container has the name. ``proven``: the copy was watched, and there is nothing to wait
    for any more. ``restarted``: the old one was started again.
    """

    old: Place | None
    new: Place | None
    taken: bool = False
    proven: bool = False
    restarted: bool = False


def is_temporary(name: str) -> bool:
    """Return whether ``name`` is one that a container has in the middle of a re-creation."""
    return OLD_MARK in name or NEW_MARK in name
