"""A fact about a container that alternates, such as paused and running, from events and readings (pure).

Each event of it is published once. A reading only repairs: one that differs is published at once, and the
event that it came before is then absorbed when it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_NEVER: Final = float("-inf")
_MOST_OWED: Final = 8


@dataclass(frozen=True, slots=True)
class Toggle:
    """``value`` as it was published last; ``at`` is the time of the newest event (Unix seconds).

    ``owed`` are values that were published without their events, each with the latest time that its event
    can have. ``late`` was published since by an event from before ``read_at``, the end of the reading that
    ``value`` is from: which of the two is newer is not known.
    """

    value: str = ""
    at: float = _NEVER
    owed: tuple[tuple[str, float], ...] = ()
    late: str | None = None
    read_at: float = _NEVER


UNSET: Final = Toggle()


def on_event(toggle: Toggle, value: str, at: float, *, opposite: str = "") -> tuple[Toggle, tuple[str, ...]]:
    """Return the toggle after an event of ``at`` that says ``value``, and the values to publish, in order.

    With ``opposite`` the values strictly alternate: a second event of one value proves that one of the
    opposite was lost between the two.
    """
    claim = next((each for each in toggle.owed if each[0] == value and at <= each[1]), None)
    if claim is not None:
        rest = list(toggle.owed)
        rest.remove(claim)
        return replace(toggle, owed=tuple(rest), at=max(at, toggle.at), late=None), ()
    if at <= toggle.at:
        return toggle, (value,)  # it comes late: the newest still counts
    if value != toggle.value:
        if at <= toggle.read_at:
            toggle = replace(toggle, at=at, late=value)
        else:
            toggle = replace(toggle, value=value, at=at, late=None)
        return toggle, (value,)
    if toggle.late is not None:
        return replace(toggle, at=at, late=None), (value,)
    if not opposite:
        return replace(toggle, at=at), ()
    return _owing(replace(toggle, at=at), opposite, at), (opposite, value)


def on_reading(toggle: Toggle, value: str, until: float) -> tuple[Toggle, bool]:
    """Return the toggle after a reading, complete at ``until``, that shows ``value``; and if that is news."""
    if value == toggle.late:
        return replace(toggle, value=value, late=None, read_at=until), False
    owed = any(each[0] == value for each in toggle.owed)
    if value == toggle.value and (toggle.late is None or owed):
        return replace(toggle, late=None), False
    return _owing(replace(toggle, value=value, late=None, read_at=until), value, until), True


def _owing(toggle: Toggle, value: str, until: float) -> Toggle:
    return replace(toggle, owed=(*toggle.owed, (value, until))[-_MOST_OWED:])
