"""Who else looks at each snapshot: concerns beside the worker's own, each one object with one call (pure)."""

from __future__ import annotations

from typing import Protocol

from aiidpd.components.thermal.gpu import GpuSnapshot


class SnapshotListener(Protocol):
    """Sees every snapshot once, in order. It outlives the worker, and must neither block nor wait."""

    def observe(self, snapshot: GpuSnapshot, at: float, now: float) -> None:
        """Take ``snapshot``, read just now: at ``at`` in Unix seconds, ``now`` in monotonic seconds."""
