"""Conditions of backups: what is wrong with the snapshots, the target and the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.backup.text import named
from aiidpd.components.backup.view import BackupView, SnapshotInfo, newest
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

SOURCE: Final = "backup"
BROKEN: Final = "backup_snapshot_broken"
DAMAGED: Final = "backup_content_damaged"
ROTTEN: Final = "backup_source_rotten"
LEFT_OUT: Final = "backup_files_left_out"
UNPROVEN: Final = "backup_unproven"
LISTS: Final = "backup_list_damaged"
TYPES: Final = (BROKEN, DAMAGED, ROTTEN, LEFT_OUT, UNPROVEN, LISTS)
_LATE: Final = 1.5  # times the time within which each byte shall be read again
_DAY: Final = 86_400.0


def conditions_of(view: BackupView, now: float, within: float) -> Iterator[Condition]:
    """Yield what is wrong at ``now`` (Unix seconds); each byte shall be read ``within`` so many seconds."""
    for each in view.snapshots:
        if each.broken:
            yield _broken(view.target, each)
    if view.store is not None:
        yield from _about_store(view, now, within)
    last = newest(view.snapshots, view.source)
    if last is not None and last.left_out:
        yield _left_out(view, last)


def _broken(target: str, snapshot: SnapshotInfo) -> Condition:
    return Condition(
        BROKEN,
        snapshot.id,
        Severity.ERROR,
        f"the snapshot can't be relied on: {snapshot.broken}",
        f"remove {target}/snapshots/{snapshot.id} once a whole one exists (`aiidpctl backup list`); "
        "distrust the disk where nobody touched it: run smartctl",
        source=SOURCE,
    )


def _about_store(view: BackupView, now: float, within: float) -> Iterator[Condition]:
    store = view.store
    if store is None:
        return
    if store.damaged:
        snapshots = ", ".join(each.id for each in view.snapshots if each.damaged) or "no snapshot"
        yield Condition(
            DAMAGED,
            view.target,
            Severity.ERROR,
            f"{store.damaged} contents were not as they were written when they were last read ({snapshots})",
            "`aiidpctl backup verify` names them, and heals what has a good copy; "
            "distrust the target's disk, cable and memory: run smartctl and a memory test",
            source=SOURCE,
        )
    if store.rotten:
        yield Condition(
            ROTTEN,
            view.source,
            Severity.ERROR,
            "files of the source read otherwise than they were backed up, though nothing has changed them: "
            f"{named(store.rotten, store.rotten_total)}",
            "the snapshots have the right content: `aiidpctl backup restore --in-place --overwrite PATH`; "
            "distrust the source's disk: run smartctl",
            source=SOURCE,
        )
    for problem in store.problems:
        yield Condition(
            LISTS,
            problem,
            Severity.WARNING,
            f"a list beside the snapshots is damaged: {problem}",
            "`aiidpctl backup verify` reads all anew and writes it again",
            source=SOURCE,
        )
    if store.oldest_proof is not None and now - store.oldest_proof > _LATE * within:
        yield Condition(
            UNPROVEN,
            view.target,
            Severity.WARNING,
            f"some content was not read back for {(now - store.oldest_proof) / _DAY:.0f} days "
            f"(it shall be within {within / _DAY:.0f})",
            "`aiidpctl backup verify` reads what is due; see why it is late, or raise backup.verify.within",
            source=SOURCE,
        )


def _left_out(view: BackupView, snapshot: SnapshotInfo) -> Condition:
    count = (
        "1 file of the source is"
        if snapshot.left_out == 1
        else f"{snapshot.left_out} files of the source are"
    )
    return Condition(
        LEFT_OUT,
        view.source,
        Severity.WARNING,
        f"{count} not in the newest snapshot {snapshot.id}, or not as the source has it",
        f"manifest.json in {view.target}/snapshots/{snapshot.id} says which and why; "
        "let the daemon's user read it, or exclude it",
        source=SOURCE,
    )
