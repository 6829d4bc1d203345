"""Alerts about recent Xid events, by their cause: application, driver, hardware (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.alerts.state import Observation, Status
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.alerts.presence import Known
from aiidpd.components.thermal.signals import thresholds
from aiidpd.components.thermal.xid import XidClass, XidEvent, meaning
from aiidpd.kernel.events import Scalar

_ALERTS = {
    XidClass.APPLICATION: rules.XID_APPLICATION,
    XidClass.DRIVER: rules.XID_DRIVER,
    XidClass.HARDWARE: rules.XID_HARDWARE,
    XidClass.UNKNOWN: rules.XID_UNKNOWN,
}
_NEVER_READ = Known(-1, "never read")


@dataclass(frozen=True, slots=True)
class LastXid:
    """Last event of one class on one GPU, and how many there were since the daemon began to count."""

    at: float
    code: int
    count: int


@dataclass(frozen=True, slots=True)
class XidMemory:
    """Last event by GPU (UUID) and class."""

    last: Mapping[tuple[str, XidClass], LastXid] = field(default_factory=lambda: MappingProxyType({}))


def update(memory: XidMemory, events: Iterable[XidEvent], now: float) -> XidMemory:
    """Return the state after ``events``, which happened just now."""
    last = dict(memory.last)
    for event in events:
        key = (event.uuid, meaning(event.code).kind)
        before = last.get(key)
        last[key] = LastXid(now, event.code, before.count + 1 if before else 1)
    return XidMemory(MappingProxyType(last))


def evaluate(
    memory: XidMemory, gpus: Iterable[str], names: Mapping[str, Known], now: float
) -> Iterator[Observation]:
    """Yield the status of the alerts about Xid events for ``gpus`` (UUIDs) and for every GPU that had one.

    ``names`` has every GPU that was ever read: one that fell off the bus reports an Xid and can't be
    read any more. An event counts for an hour.
    """
    for uuid in sorted({uuid for uuid, _ in memory.last} | {*gpus}):
        known = names.get(uuid, _NEVER_READ)
        for kind, alert in _ALERTS.items():
            seen = memory.last.get((uuid, kind))
            lately = seen is not None and now - seen.at < thresholds.XID_WINDOW
            evidence: dict[str, Scalar] = {
                "gpu": known.index,
                "name": known.name,
                "xid": seen.code if seen else 0,
                "meaning": meaning(seen.code).text if seen else "none so far",
                "xid_count": seen.count if seen else 0,
            }
            yield Observation(alert, uuid, Status.TRUE if lately else Status.FALSE, evidence)
