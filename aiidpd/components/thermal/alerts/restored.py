"""Alerts from before a restart: what they say of the GPUs that were there then (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from aiidpd.alerts.state import Alert, Key, Stage
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.alerts.evaluate import Memory
from aiidpd.components.thermal.alerts.presence import DRIVER, Known, index_of
from aiidpd.components.thermal.signals.checked import CheckedSnapshot


def remembered(memory: Memory, restored: Mapping[Key, Alert]) -> Memory:
    """Return ``memory`` with what the alerts about presence say of the time before.

    A GPU that was lost is still missed, and so is the right number of GPUs: otherwise the daemon's restart
    would call off what it did not mend. A restart of the machine does: a card can only be taken out then.
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

    Where a GPU is listed that can't be read nobody knows which it is.
    """
    read = {gpu.index for gpu in snapshot.readings}
    if any(fault.index is not None and fault.index not in read for fault in snapshot.faults):
        return set()
    there = {DRIVER, *memory.presence.gpus}
    return {
        key for key in restored if key[1] not in there and index_of(key[1]) not in memory.presence.nameless
    }
