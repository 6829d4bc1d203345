"""Who else gets each snapshot: concerns beside the worker's own, each one object with one call (pure)."""

from __future__ import annotations

from typing import Protocol

from aiidpd.components.thermal.signals.checked import CheckedSnapshot


class SnapshotListener(Protocol):
    """Gets every snapshot once, in order. It outlives the worker, and must neither block nor wait."""

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """Take ``snapshot``, read just now."""
