"""Pace of the readings of what containers use (pure).

Containers of inference engines and those with a GPU are read often, for a hang is recognised by what their
processes do in seconds. The others are read for what takes minutes or hours to show, in turns, so that no
pass has all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

CLOSE_SECONDS: Final = 2.0
"""Between two readings of the container of an engine, or of one with a GPU, or of one that is ending."""

DISTANT_SECONDS: Final = 20.0
"""Between two readings of any other container."""


def due(read: Mapping[str, float], running: Iterable[str], close: Collection[str], now: float) -> list[str]:
    """Return the containers to read now; ``read`` has when each was read last, ``close`` those of interest.

    Those never read come at once. Of the others no more than their share of a pass is taken, the oldest
    first.
    """
    fresh: list[str] = []
    distant: list[tuple[float, str]] = []
    others = 0
    for identity in running:
        last = read.get(identity)
        if last is None:
            fresh.append(identity)
        elif identity in close:
            if now - last >= CLOSE_SECONDS * 0.75:
                fresh.append(identity)
        else:
            others += 1
            if now - last >= CLOSE_SECONDS * 0.75:
                distant.append((last, identity))
    share = -(-others * int(CLOSE_SECONDS) // int(DISTANT_SECONDS))
    return fresh + [identity for _, identity in sorted(distant)[:share]]
