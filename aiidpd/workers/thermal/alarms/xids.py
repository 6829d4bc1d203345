"""Which Xid events were lately, by whose fault they are (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.alerts.state import Condition, Observation
from aiidpd.kernel.events import Scalar
from aiidpd.workers.thermal.alarms import rules
from aiidpd.workers.thermal.alarms.limits import AlarmPolicy
from aiidpd.workers.thermal.gpu import GpuSnapshot
from aiidpd.workers.thermal.xid import XidClass, meaning

_ALERTS = {
    XidClass.APPLICATION: rules.XID_APPLICATION,
    XidClass.DRIVER: rules.XID_DRIVER,
    XidClass.HARDWARE: rules.XID_HARDWARE,
    XidClass.UNKNOWN: rules.XID_UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class LastXid:
    """The last event of one class on one GPU, and how many there were since they began to be watched."""

    at: float
    code: int
    count: int


@dataclass(frozen=True, slots=True)
class XidMemory:
    """The last event by GPU (UUID) and class."""

    last: Mapping[tuple[str, XidClass], LastXid] = field(default_factory=lambda: MappingProxyType({}))


def xids(
    memory: XidMemory,
    snapshot: GpuSnapshot,
    names: Mapping[str, tuple[int, str]],
    now: float,
    policy: AlarmPolicy,
) -> tuple[XidMemory, tuple[Observation, ...]]:
    """Return what is remembered after ``snapshot``, and how the alerts about Xid events stand.

    ``names`` has index and name of every GPU that was ever read: one that fell off the bus says so by an
    Xid, and can't be read any more. An event stands for the policy's window.
    """
    last = dict(memory.last)
    for event in snapshot.xids:
        key = (event.uuid, meaning(event.code).kind)
        before = last.get(key)
        last[key] = LastXid(now, event.code, before.count + 1 if before else 1)
    told = []
    subjects = {uuid for uuid, _ in last} | {gpu.uuid for gpu in snapshot.gpus if gpu.xids is not None}
    for uuid in sorted(subjects):
        index, name = names.get(uuid, (-1, "never read"))
        for kind, alert in _ALERTS.items():
            seen = last.get((uuid, kind))
            lately = seen is not None and now - seen.at < policy.xid_window
            evidence: dict[str, Scalar] = {
                "gpu": index,
                "name": name,
                "xid": seen.code if seen else 0,
                "meaning": meaning(seen.code).text if seen else "none so far",
                "xid_count": seen.count if seen else 0,
            }
            told.append(Observation(alert, uuid, Condition.HOLDS if lately else Condition.CLEAR, evidence))
    return XidMemory(MappingProxyType(last)), tuple(told)
