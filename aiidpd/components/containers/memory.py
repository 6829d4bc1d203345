"""Memory of the watcher, which outlives its runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from aiidpd.components.containers.state import ContainersState


@dataclass(slots=True)
class ContainersMemory:
    """Part of the watcher that outlives its runs.

    ``seen`` is the Unix second up to which events were seen.
    ``paused`` has the containers (the beginnings of their ids) that we paused ourselves.
    ``ends`` counts the ends of runs by container's name and cause; ``interruptions`` those of the stream.
    """

    state: ContainersState = field(default_factory=ContainersState)
    seen: float | None = None
    paused: set[str] = field(default_factory=set)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    interruptions: int = 0
