"""What one worker asks of others, as events (pure): the words on which both sides must agree.

``gpu.back_off`` asks to leave the GPU that is its subject alone. Its evidence ``hold_seconds`` says for how
long, ``containers`` which ones are to stand still meanwhile; ``gpu.back_off_ended`` takes it back.
``gpu.emergency`` asks to stop the containers that its evidence ``containers`` names.
"""

from __future__ import annotations

from typing import Final

from aiidpd.kernel.events import Event

BACK_OFF: Final = "gpu.back_off"
BACK_OFF_ENDED: Final = "gpu.back_off_ended"
EMERGENCY: Final = "gpu.emergency"

_LONGEST = 3600.0
_DEFAULT = 600.0


def hold_seconds(event: Event) -> float:
    """Return for how many seconds an ask to back off holds: an hour at most, as whoever asked may be gone."""
    seconds = event.evidence.get("hold_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return _DEFAULT
    return min(_LONGEST, float(seconds))


def joined(names: tuple[str, ...]) -> str:
    """Return container names as one scalar of evidence."""
    return ", ".join(names)


def named(event: Event) -> tuple[str, ...]:
    """Return the containers that ``event`` names, each once."""
    names = (name.strip() for name in str(event.evidence.get("containers") or "").split(","))
    return tuple(dict.fromkeys(filter(None, names)))
