"""Names of the containers in a re-creation, or a trial of an image, and which step is let through (pure).

A container ``NAME`` and its copy change places by names: ``NAME-aiidpd-new-TOKEN`` takes the name ``NAME``
of the other, which waits as ``NAME-aiidpd-old-TOKEN`` and is removed, or gets its name back. When, is for the
daemon to decide; no step leads out of these names, and none removes the last container that has one.
``NAME-aiidpd-new-TOKEN-beside`` runs beside ``NAME`` for a while, never gets its place, and counts for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

NEW: Final = "new"
BESIDE: Final = "beside"
_TEMPORARY: Final = re.compile(
    r"(.+)-aiidpd-(?:(old|new)-([0-9a-f]{4,32})|new-([0-9a-f]{4,32})-beside)", re.ASCII
)
_MOST_BESIDE: Final = 2  # what an earlier re-creation has left, and one more


class Place(NamedTuple):
    """Name in a re-creation: whose, and ``old``, ``new`` or ``beside``; nothing for the place itself."""

    base: str
    kind: str = ""
    token: str = ""

    @property
    def old_name(self) -> str:
        """Name of the container whose place the one of this name has, or may get."""
        return f"{self.base}-aiidpd-old-{self.token}"


def place_of(name: str) -> Place:
    """Return the place that a name stands for."""
    match = _TEMPORARY.fullmatch(name)
    if match is None:
        return Place(name)
    return Place(match[1], match[2], match[3]) if match[2] else Place(match[1], BESIDE, match[4])


def rename_refusal(name: str, wanted: str) -> str:
    """Return why a container may not be renamed so, an empty text where it may."""
    one, other = place_of(name), place_of(wanted)
    if one.base != other.base or place_of(one.base).kind:
        return f"{name} may only be given a name of its own re-creation"
    if bool(one.kind) == bool(other.kind) or BESIDE in (one.kind, other.kind):
        return f"from {name} a re-creation does not lead to {wanted}"
    return ""


def removal_refusal(name: str, others: Iterable[str]) -> str:
    """Return why a container may not be removed, an empty text where it may."""
    place = place_of(name)
    if place.kind == BESIDE:
        return ""
    found = (place_of(each) for each in others if each != name)
    if any(each.base == place.base and each.kind != BESIDE for each in found):
        return ""
    return f"{name} is the last of its name: what is removed has another in its place, or had it"


def copy_refusal(name: str, wanted: str, others: Iterable[str], kinds: Iterable[str] = (NEW,)) -> str:
    """Return why a copy of ``name`` called ``wanted`` may not be made among ``others``, or an empty text.

    ``kinds`` are those of the names that it may have.
    """
    place = place_of(wanted)
    if sum(place_of(each).base == name for each in others) >= _MOST_BESIDE:
        return f"other copies of {name} are there already"
    if place_of(name).kind or place.kind not in kinds or place.base != name:
        return f"a copy of {name} is called {name}-aiidpd-new-TOKEN"
    return ""
