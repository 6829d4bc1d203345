"""Alerts restored after a restart: the GPUs that were missing then are missing still (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from aiidpd.alerts.state import Alert, Key, Stage
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.alerts.evaluate import Memory
from aiidpd.components.thermal.alerts.presence import DRIVER, Known, index_of
from aiidpd.components.thermal.signals.checked import CheckedSnapshot


def with_restored(memory: Memory, restored: Mapping[Key, Alert]) -> Memory:
    """Return ``memory`` with the GPUs that the restored alerts about presence name.

    A GPU that was lost is still missing, and as many GPUs are expected as before: otherwise a restart of the
    daemon would resolve an alert that it did not mend. A restart of the machine does: only then can a card be
    taken out.
    """
    presence = memory.presence
    for (name, subject), alert in restored.items():
        before = alert.restored
        if before is None or not before.same_boot or alert.stage is not Stage.FIRING:
            continue
        memory = replace(memory, simulated=before.simulated)
        index, expected = alert.evidence.get("gpu"), alert.evidence.get("expected")
        if name == rules.COUNT_CHANGED and isinstance(expected, int):
            presence = replace(presence, first_count=expected)
        elif name == rules.LOST and (nameless := index_of(subject)) is not None:
            presence = replace(presence, nameless=presence.nameless | {nameless})
        elif name == rules.LOST and isinstance(index, int) and subject not in presence.gpus:
            known = Known(index, str(alert.evidence.get("name", "")))
            presence = replace(presence, gpus=MappingProxyType({**presence.gpus, subject: known}))
    return replace(memory, presence=presence)


def vanished(restored: Mapping[Key, Alert], snapshot: CheckedSnapshot, memory: Memory) -> set[Key]:
    """Return the restored alerts whose GPU is not there any more, now that ``snapshot`` was read.

    None where a GPU is listed that can't be read: it may be the one.
    """
    read = {gpu.index for gpu in snapshot.readings}
    if any(fault.index is not None and fault.index not in read for fault in snapshot.faults):
        return set()
    there = {DRIVER, *memory.presence.gpus}
    return {
        key for key in restored if key[1] not in there and index_of(key[1]) not in memory.presence.nameless
    }
