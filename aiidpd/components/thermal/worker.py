"""Thermal worker: reads the GPUs at their rate, and hands each validated snapshot to alerts and governor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NoReturn, Protocol

import anyio

from aiidpd.components.thermal import xid
from aiidpd.components.thermal.alerts.evaluator import AlertEvaluator
from aiidpd.components.thermal.alerts.presence import (
    GpuAppeared,
    GpuDisappeared,
    Known,
    PresenceChange,
    changes,
)
from aiidpd.components.thermal.figures import SAMPLED
from aiidpd.components.thermal.governor.controller import GovernorController
from aiidpd.components.thermal.gpu import GpuLibrary, GpuSnapshot
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.components.thermal.polling import RETRY_INTERVAL, PollRate, next_rate
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.components.thermal.signals.validate import SnapshotValidator
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Inactive, Unavailable
from aiidpd.kernel.events import Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.kernel.words import lasting
from aiidpd.platform.installed import Installed

_CLOSE_WITHIN: Final = 3.0  # seconds
_RESTORE_WITHIN: Final = 2.0
_UNTIL_INSTALLED: Final = 20.0  # between two searches for a driver: each starts a process
_XID_SEVERITY: Final = {
    xid.XidClass.APPLICATION: Severity.WARNING,
    xid.XidClass.DRIVER: Severity.WARNING,
    xid.XidClass.HARDWARE: Severity.ERROR,
    xid.XidClass.UNKNOWN: Severity.WARNING,
}


class SnapshotListener(Protocol):
    """Receiver of every validated snapshot, once, in order. Outlives the worker; must not block."""

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """Take ``snapshot``, read just now."""


class ThermalWorker:
    """Reads ``library`` at its rate into ``latest``, and owns it: closes it when the run ends.

    While ``maintenance`` is active the driver is left alone and nothing is known of any GPU. ``ledger`` is
    the one in which the library counts Xid events.
    The ``validator`` outlives the worker, and so do the ``listeners``, each of which gets every snapshot
    once, validated by ``settings``. After them the ``evaluator`` updates the alerts, and the
    ``governor`` acts, which restores the GPUs before they are released. Without a driver the task is inactive
    where ``installed`` never saw one.
    """

    def __init__(
        self,
        library: GpuLibrary,
        settings: GpuSettings,
        latest: Latest[GpuSnapshot],
        publish: Publisher,
        clock: Clock,
        *,
        validator: SnapshotValidator | None = None,
        listeners: Sequence[SnapshotListener] = (),
        evaluator: AlertEvaluator | None = None,
        maintenance: DriverMaintenance | None = None,
        ledger: xid.XidLedger | None = None,
        governor: GovernorController | None = None,
        installed: Installed | None = None,
        retry_interval: float = RETRY_INTERVAL,
    ) -> None:
        self._library = library
        self._settings = settings
        self._latest = latest
        self._publish = publish
        self._clock = clock
        self._validator = validator or SnapshotValidator()
        self._listeners = tuple(listeners)
        self._evaluator = evaluator
        self._maintenance = maintenance or DriverMaintenance(clock)
        self._ledger = ledger or xid.XidLedger()
        self._governor = governor
        self._installed = installed
        self._retry_interval = retry_interval

    @property
    def simulated(self) -> bool:
        return self._library.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Read the GPUs until cancelled."""
        known: Mapping[str, Known] = MappingProxyType({})
        rate = PollRate(self._settings.interval)
        try:
            while True:
                started = self._clock.monotonic()
                interval = self._retry_interval
                with heartbeat.working():
                    before, rate = rate, replace(rate, fast=False)  # where it fails the next is a full one
                    try:
                        reading = await self._read(fast=before.fast)
                    except Inactive:
                        interval = _UNTIL_INSTALLED
                        raise
                    snapshot = self._checked(reading)
                    rate = next_rate(before, snapshot, self._settings)
                    interval = rate.interval
                    # Before anything is published: what then begins an incident has its own reading in it.
                    for listener in self._listeners:
                        listener.on_snapshot(snapshot)
                    known, changed = changes(known, snapshot)
                    self._publish_snapshot(snapshot, changed, curves=not before.fast)
                    if self._evaluator is not None:
                        self._evaluator.on_snapshot(snapshot)
                    if self._governor is not None:
                        await self._governor.act(snapshot)
                    _raise_fault(snapshot)
                await self._maintenance.sleep(max(0.0, started + interval - self._clock.monotonic()))
        finally:
            if self._evaluator is not None:
                self._evaluator.save()
            with anyio.CancelScope(shield=True):
                if self._governor is not None:
                    with anyio.move_on_after(_RESTORE_WITHIN):  # what isn't done by then stays in the journal
                        await self._governor.restore()
                with anyio.move_on_after(_CLOSE_WITHIN):
                    await self._library.aclose()

    async def _read(self, *, fast: bool) -> GpuSnapshot:
        if self._maintenance.active:
            await self._release()
        try:
            snapshot = await (self._library.read(fast=True) if fast else self._library.read())
        except Unavailable as error:
            self._latest.clear()  # the last value is no longer known to be true
            explained = self._installed.explain(error) if self._installed else error
            if isinstance(explained, Inactive):
                raise explained from None
            xids = self._ledger.take()  # why the last GPU was lost, mostly
            self._publish_xids(xids)
            if self._evaluator is not None:
                self._evaluator.on_failure(explained, xids, simulated=self.simulated)
            raise explained from None
        self._latest.put(snapshot)
        if self._installed is not None and not snapshot.simulated:
            self._installed.confirm()
        return snapshot

    def _checked(self, snapshot: GpuSnapshot) -> CheckedSnapshot:
        """Return ``snapshot``, read just now, validated: only ``latest`` has it as it was read."""
        at, now = self._clock.time(), self._clock.monotonic()
        return self._validator.check(snapshot, at, now, self._settings)

    async def _release(self) -> NoReturn:
        """Close the driver for maintenance; always raises :class:`Unavailable`, as no GPU is read."""
        self._latest.clear()
        if self._evaluator is not None:
            self._evaluator.on_release()
        if self._governor is not None:
            await self._governor.restore()
        await self._library.aclose()
        if self._library.holding:
            raise Unavailable(
                "release",
                "GPUs",
                reason="a call hangs in the NVIDIA driver and can't be ended",
                remedy="a reboot may be the only cure",
            )
        self._maintenance.mark_free()
        left = self._maintenance.seconds_left
        until = "until resumed" if left is None or math.isinf(left) else f"for {lasting(left)} more"
        raise Unavailable(
            "read",
            "GPUs",
            reason=f"the driver is released {until}",
            remedy="`aiidpctl gpu resume`",
        )

    def _publish_snapshot(
        self, snapshot: CheckedSnapshot, changed: Iterable[PresenceChange], *, curves: bool
    ) -> None:
        publish = self._publish.marked(simulated=snapshot.simulated).at(snapshot.at)
        for gpu in snapshot.gpus if curves else ():
            for series in SAMPLED:
                value = gpu.figure(series)
                if value is not None:
                    publish.sample(series, gpu.reading.uuid, value)
        for change in changed:
            match change:
                case GpuAppeared():
                    kind, severity = "gpu.appeared", Severity.INFO
                case GpuDisappeared():
                    kind, severity = "gpu.disappeared", Severity.ERROR
            publish.event(kind, change.reason, about=change.uuid, severity=severity, gpu=change.index)
        self._publish_xids(snapshot.xids)

    def _publish_xids(self, events: Iterable[xid.XidEvent]) -> None:
        publish = self._publish.marked(simulated=self.simulated)
        for event in events:
            meaning = xid.meaning(event.code)
            publish.event(
                "gpu.xid",
                f"Xid {event.code}: {meaning.text}",
                about=event.uuid,
                severity=_XID_SEVERITY[meaning.kind],
                xid=event.code,
                **{"class": meaning.kind.value},
            )


def _raise_fault(snapshot: CheckedSnapshot) -> None:
    """Raise :class:`Unavailable` where a call failed: the pass is degraded, though the rest was published."""
    if snapshot.faults:
        first = snapshot.faults[0]
        more = len(snapshot.faults) - 1
        reason = f"{first} and {more} more" if more else str(first)
        raise Unavailable("read all of", first.subject, reason=reason, remedy=first.remedy)
