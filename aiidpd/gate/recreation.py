"""Names of the containers in a re-creation, and which step between them is let through (pure).

A container ``NAME`` and its copy change places by names: ``NAME-aiidpd-new-TOKEN`` takes the name ``NAME``
of the other, which waits as ``NAME-aiidpd-old-TOKEN`` and is removed, or gets its name back. When, is for the
daemon to decide; no step leads out of these names, and none removes the last container that has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_TEMPORARY: Final = re.compile(r"(.+)-aiidpd-(old|new)-([0-9a-f]{4,32})", re.ASCII)


_MOST_BESIDE: Final = 2  # what an earlier re-creation has left, and one more


class Place(NamedTuple):
    """Name in a re-creation: whose it is, and ``old``, ``new`` or an empty text for the place itself."""

    base: str
    kind: str = ""
    token: str = ""


def place_of(name: str) -> Place:
    """Return the place that a name stands for."""
    match = _TEMPORARY.fullmatch(name)
    return Place(name) if match is None else Place(match[1], match[2], match[3])


def rename_refusal(name: str, wanted: str) -> str:
    """Return why a container may not be renamed so, an empty text where it may."""
    one, other = place_of(name), place_of(wanted)
    if one.base != other.base or place_of(one.base).kind:
        return f"{name} may only be given a name of its own re-creation"
    if bool(one.kind) == bool(other.kind):
        return f"from {name} a re-creation does not lead to {wanted}"
    return ""


def removal_refusal(name: str, others: Iterable[str]) -> str:
    """Return why a container may not be removed, an empty text where it may."""
    base = place_of(name).base
    if any(each != name and place_of(each).base == base for each in others):
        return ""
    return f"{name} is the last of its name: what is removed has another in its place, or had it"


def copy_refusal(name: str, wanted: str, others: Iterable[str]) -> str:
    """Return why a copy of ``name`` called ``wanted`` may not be made beside ``others``, or an empty text."""
    place = place_of(wanted)
    if sum(place_of(each).base == name for each in others) >= _MOST_BESIDE:
        return f"other copies of {name} are there already"
    if place_of(name).kind or place.kind != "new" or place.base != name:
        return f"a copy of {name} is called {name}-aiidpd-new-TOKEN"
    return ""
