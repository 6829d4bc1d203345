"""Evidence of upgrades on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from aiidpd.components.bench.guard.document import Upgrade
from aiidpd.components.bench.record_store import RecordStore

FOLDER: Final = "upgrades"
_INTERRUPTED: Final = (
    "the daemon ended in the middle; the old container was put back: see `aiidpctl events --kind "
    "container.upgrade_returned`"
)


class UpgradeStore(RecordStore[Upgrade]):
    """Folder of upgrades. ``running`` is the id of the one that goes on now."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Upgrade, name="upgrade", command="aiidpctl bench upgrades")
        self.running = ""

    def load(self, identity: str) -> Upgrade:
        """Return the upgrade ``identity``; one that was running when the daemon ended was interrupted."""
        found = super().load(identity)
        if found.outcome == "running" and found.id != self.running:
            return replace(found, outcome="interrupted", reason=_INTERRUPTED)
        return found
