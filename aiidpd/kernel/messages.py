"""Message: what one component requests of another (pure). Typed; :mod:`.inbox` delivers it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of every message.

    ``reason`` is a sentence; ``event_id`` names the event that reports the same to people, 0 where there is
    none. ``sent_at`` is set when it is sent, in monotonic seconds.
    """

    reason: str
    event_id: int = 0
    simulated: bool = False
    sent_at: float = 0.0
