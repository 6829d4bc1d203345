"""Conditions of the snapshots on the target: one for each that is broken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiidpd.components.backup.view import SnapshotInfo
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity

SOURCE: Final = "backup"
BROKEN: Final = "backup_snapshot_broken"


def update_conditions(conditions: Conditions, target: str, snapshots: Iterable[SnapshotInfo]) -> None:
    """Set the condition of each broken one of ``snapshots``, which are all on ``target``; clear the others.

    It lasts until the snapshot is gone, or can be read as a whole one again.
    """
    conditions.update(
        (BROKEN,),
        (
            Condition(
                BROKEN,
                each.id,
                Severity.ERROR,
                f"the snapshot can't be relied on: {each.broken}",
                f"remove {target}/snapshots/{each.id} once a whole one exists (`aiidpctl backup list`); "
                "distrust the disk where nobody touched it: run smartctl",
                source=SOURCE,
            )
            for each in snapshots
            if each.broken
        ),
    )
