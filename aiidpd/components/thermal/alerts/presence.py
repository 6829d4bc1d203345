"""Presence of GPUs (pure): events when one appears or disappears, alerts while one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from aiidpd.alerts.state import Observation, Status
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.settings import AlertSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Scalar

DRIVER = "driver"
_ONE_GPU = "GPU "
_NAMELESS = "index-"


@dataclass(frozen=True, slots=True)
class Known:
    """A GPU that was read: its index and name."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class PresenceMemory:
    """GPUs that were ever read, by UUID; those that never were, by index; the first count of all."""

    gpus: Mapping[str, Known] = field(default_factory=lambda: MappingProxyType({}))
    nameless: frozenset[int] = frozenset()
    first_count: int | None = None


@dataclass(frozen=True, slots=True)
class GpuAppeared:
    """A GPU is read that was not in the snapshot before."""

    index: int
    uuid: str
    reason: str


@dataclass(frozen=True, slots=True)
class GpuDisappeared:
    """A GPU of the snapshot before can't be read now."""

    index: int
    uuid: str
    reason: str


PresenceChange: TypeAlias = GpuAppeared | GpuDisappeared


def changes(
    before: Mapping[str, Known], snapshot: CheckedSnapshot
) -> tuple[Mapping[str, Known], tuple[PresenceChange, ...]]:
    """Return the GPUs of ``snapshot`` by UUID, since an index can name another card later, and what changed.

    ``before`` has those of the snapshot before.
    """
    gpus = {reading.uuid: Known(reading.index, reading.name) for reading in snapshot.readings}
    changed: list[PresenceChange] = [
        GpuAppeared(known.index, uuid, f"GPU {known.index} ({known.name}) is read now")
        for uuid, known in gpus.items()
        if uuid not in before
    ]
    changed += (_disappeared(uuid, gone, snapshot) for uuid, gone in before.items() if uuid not in gpus)
    return MappingProxyType(gpus), tuple(changed)


def _disappeared(uuid: str, gone: Known, snapshot: CheckedSnapshot) -> GpuDisappeared:
    fault = next((str(fault) for fault in snapshot.faults if fault.index == gone.index), None)
    reason = fault or "the driver no longer lists it"
    return GpuDisappeared(gone.index, uuid, f"GPU {gone.index} ({gone.name}) can't be read: {reason}")


def evaluate(
    memory: PresenceMemory, snapshot: CheckedSnapshot, settings: AlertSettings
) -> tuple[PresenceMemory, tuple[Observation, ...]]:
    """Return the state after a snapshot of at least one GPU, and the status of the alerts about presence."""
    read = {gpu.uuid: Known(gpu.index, gpu.name) for gpu in snapshot.readings}
    indexes = {known.index for known in read.values()}
    faults = {each.index: str(each) for each in snapshot.faults if each.index not in (None, *indexes)}
    gpus = {**memory.gpus, **read}
    lost = {uuid: known for uuid, known in gpus.items() if uuid not in read}
    observed = [_lost(uuid, known, Status.FALSE, "it is read") for uuid, known in read.items()]
    for uuid, known in lost.items():
        reason = faults.get(known.index, "the driver no longer lists it")
        observed.append(_lost(uuid, known, Status.TRUE, reason))
    strangers = {index for index in faults if index not in {known.index for known in lost.values()}}
    nameless = memory.nameless | {index for index in strangers if index is not None}
    for index in sorted(nameless):
        condition = Status.TRUE if index in strangers else Status.FALSE
        known = Known(index, "never read")
        observed.append(
            _lost(f"{_NAMELESS}{index}", known, condition, faults.get(index, "it is read or gone"))
        )
    count = len(read) + len(faults)
    first = count if memory.first_count is None else memory.first_count
    expected = settings.expected_gpus or first
    wrong = Status.FALSE if count == expected else Status.TRUE
    observed.append(Observation(rules.COUNT_CHANGED, DRIVER, wrong, {"count": count, "expected": expected}))
    observed.append(
        Observation(rules.DRIVER_UNAVAILABLE, DRIVER, Status.FALSE, {"reason": "there was an answer"})
    )
    memory = replace(memory, gpus=MappingProxyType(gpus), nameless=frozenset(nameless), first_count=first)
    return memory, tuple(observed)


def evaluate_failure(memory: PresenceMemory, error: Unavailable) -> tuple[Observation, ...]:
    """Return the status of the alerts after a pass that read nothing: for one fault all GPUs, or the driver.

    Where the error is about one GPU, none of the others could be read either.
    """
    if memory.gpus and error.subject.startswith(_ONE_GPU):
        return tuple(_lost(uuid, known, Status.TRUE, error.reason) for uuid, known in memory.gpus.items())
    evidence = {"reason": error.reason}
    return (Observation(rules.DRIVER_UNAVAILABLE, DRIVER, Status.TRUE, evidence),)


def index_of(subject: str) -> int | None:
    """Return the index in ``subject``, the name of a GPU whose UUID was never read; None for any other."""
    index = subject.removeprefix(_NAMELESS)
    return int(index) if index != subject and index.isdecimal() else None


def _lost(subject: str, known: Known, condition: Status, reason: str) -> Observation:
    evidence: dict[str, Scalar] = {"gpu": known.index, "name": known.name, "reason": reason}
    return Observation(rules.LOST, subject, condition, evidence)
