"""State of a rotation, as its journal has it: which step it is at, and which way it goes (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from aiidpd.components.secrets.registry import name_problem


class Which(StrEnum):
    """Either key of a rotation."""

    PREVIOUS = "previous"
    NEXT = "next"


class Phase(StrEnum):
    """Phases of a rotation, in their order."""

    ADD = "add"
    """The server is made to accept both keys."""
    SWITCH = "switch"
    """Those who send the key get the other one."""
    DROP = "drop"
    """The server is made to accept that one alone."""
    CLEAN = "clean"
    """Nothing is left but to remove what the rotation needed."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation that has begun."""

    version: Literal[1]
    name: str
    phase: Phase
    started_at: float
    """Unix seconds."""
    back: bool = False
    """True where it goes back: the previous key is the one that remains."""
    with_gap: bool = False
    """True where the server takes one key alone."""
    notified: tuple[str, ...] = ()
    """Users who have the key that remains, in the phase ``switch``."""

    def validate(self) -> None:
        """Raise ValueError where it can't be a rotation."""
        if problem := name_problem(self.name):
            raise ValueError(problem)

    @property
    def remains(self) -> Which:
        """Key that is left in the end."""
        return Which.PREVIOUS if self.back else Which.NEXT

    @property
    def goes(self) -> Which:
        """Key that is refused in the end."""
        return Which.NEXT if self.back else Which.PREVIOUS


class NoWayBack(ValueError):
    """A rotation that can't go back any more."""


def begin(name: str, started_at: float, *, with_gap: bool) -> Rotation:
    """Return a rotation at its beginning."""
    return Rotation(1, name, Phase.SWITCH if with_gap else Phase.ADD, started_at, with_gap=with_gap)


def advanced(rotation: Rotation) -> Rotation:
    """Return ``rotation`` in its next phase."""
    order = list(Phase)
    return replace(rotation, phase=order[order.index(rotation.phase) + 1], notified=())


def notified(rotation: Rotation, user: str) -> Rotation:
    """Return ``rotation`` with ``user`` notified."""
    return replace(rotation, notified=(*rotation.notified, user))


def turned_back(rotation: Rotation) -> Rotation:
    """Return ``rotation`` on its way back; raises :class:`NoWayBack`.

    While nobody could have the next key, the server has to drop it and that is all. Later the server must
    accept both again before anybody is given the previous one.
    """
    if rotation.back:
        return rotation
    if rotation.phase is Phase.CLEAN:
        raise NoWayBack("the new key is verified, and the old one is refused already")
    ways = {Phase.ADD: Phase.DROP, Phase.SWITCH: Phase.ADD, Phase.DROP: Phase.ADD}
    phase = Phase.SWITCH if rotation.with_gap else ways[rotation.phase]
    return replace(rotation, phase=phase, back=True, notified=())
