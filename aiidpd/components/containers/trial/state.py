"""State of a trial of an image: what is known of it on disk, and what the runtime shows of it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aiidpd.components.containers.recreate.state import NEW_MARK, OLD_MARK, Place


class Phase(StrEnum):
    """Part of a trial that may have begun."""

    TRYING = "trying"
    """Either container may have the place, as it is wished."""

    KEEPING = "keeping"
    """The new one has the place for good: the old one is about to be removed."""

    RETURNING = "returning"
    """The old one is about to get its place back for good."""


@dataclass(frozen=True, slots=True)
class ImageTrial:
    """Trial ``trial`` of an image in the place of the container ``name``, whose id is ``old``.

    ``new_image`` is the id of the image that is tried, ``image`` its name as it was requested, ``old_image``
    the id of the old one's. ``token`` makes the names of the containers. ``new`` is the id of the one that is
    to have the place and ``beside`` that of one on ports of its own, empty while there is none. ``grace`` is
    how many seconds one gets to end. ``run`` and ``new_run`` distinguish the runs that are known to us (the
    runtime's StartedAt); ``new_run`` is empty where the new one was not started, or was stopped by us.

    ``stopped``: the old one was or may have been stopped by us, so that it is to be started. ``barred``: an
    emergency has stopped it, so that it is not. ``at`` is in Unix seconds. ``reason`` is why it goes back.
    """

    trial: str
    name: str
    old: str
    old_image: str
    image: str
    new_image: str
    token: str
    phase: Phase
    grace: float
    at: float
    run: str
    new: str = ""
    new_run: str = ""
    beside: str = ""
    stopped: bool = False
    barred: bool = False
    reason: str = ""

    @property
    def old_name(self) -> str:
        """Name of the old container while the new one has its place."""
        return f"{self.name}{OLD_MARK}{self.token}"

    @property
    def new_name(self) -> str:
        """Name of the new container while it has no place."""
        return f"{self.name}{NEW_MARK}{self.token}"

    @property
    def beside_name(self) -> str:
        """Name of the one on ports of its own."""
        return f"{self.new_name}-beside"

    def validate(self) -> None:
        """Raise ValueError where it names nothing."""
        if not (self.trial and self.old and self.name and self.token):
            raise ValueError("an id, name or token must not be empty")


@dataclass(frozen=True, slots=True)
class Situation:
    """All containers of a trial, None for one that does not exist. ``taken``: a fourth one has the name."""

    old: Place | None
    new: Place | None = None
    beside: Place | None = None
    taken: bool = False
