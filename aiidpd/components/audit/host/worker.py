"""Task that reads this machine: its files, its models and what listens on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import anyio

from aiidpd.components.audit.facts import HostFacts, Listener
from aiidpd.components.audit.host.files import read_host
from aiidpd.components.audit.host.listeners import in_containers
from aiidpd.components.audit.host.models import model_facts
from aiidpd.components.audit.host.sockets import listening
from aiidpd.components.audit.memory import AuditMemory
from aiidpd.components.audit.settings import AuditSettings
from aiidpd.contracts.inspections import Inspections
from aiidpd.contracts.models import StoredModels
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.thread import ThreadProbe

SETTLED: Final = 60.0
"""Seconds after the start before listeners are asked: servers that start with the machine still load."""
_PATIENCE: Final = 30.0
_OFF: Final = "switched off by audit.{}"
_POLL: Final = 5.0


class HostReader:
    """Reads this machine every ``interval``, and its models when the list of them changed."""

    simulated: Final = False

    def __init__(
        self,
        settings: AuditSettings,
        memory: AuditMemory,
        *,
        inspections: Callable[[], Reading[Inspections] | None],
        models: Callable[[], Reading[StoredModels] | None],
        own_ports: frozenset[int],
        clock: Clock,
        read: Callable[[], HostFacts] = read_host,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._inspections = inspections
        self._models = models
        self._own_ports = own_ports
        self._clock = clock
        self._read = read
        self._files = ThreadProbe(clock, _PATIENCE)
        self._disk = ThreadProbe(clock, _PATIENCE)
        self._reasons: dict[str, str] = {}

    async def run(self, heartbeat: Heartbeat) -> None:
        began = self._clock.monotonic()
        with heartbeat.working():  # nobody waits for the disk before the daemon is ready
            self._switch_off()
        host_due = 0.0
        listeners_due = began + SETTLED
        seen: object = None
        while True:
            now = self._clock.monotonic()
            models = self._models()
            listed = None if models is None else models.value
            files, ports = now >= host_due, now >= listeners_due and self._settings.listeners
            if files or ports or listed is not seen:
                with heartbeat.working():
                    if files or listed is not seen:
                        host_due, seen = now + self._settings.interval, listed
                        await self._machine(listed)
                    if ports:
                        listeners_due = now + self._settings.interval
                        await self._listeners(heartbeat)
            await heartbeat.idle(anyio.Event(), _POLL)

    def _switch_off(self) -> None:
        """Say of what is not to be read that it is not."""
        if not self._settings.host:
            self._reasons["models"] = _OFF.format("host")
            host = _unread(_OFF.format("host"))
            self._memory.machine = replace(self._memory.machine, host=host, models=None, reasons=self._why())
        if not self._settings.listeners:
            self._reasons["listeners"] = _OFF.format("listeners")
            self._memory.machine = replace(self._memory.machine, listeners=None, reasons=self._why())

    def _why(self) -> Mapping[str, str]:
        return dict(self._reasons)

    async def _machine(self, listed: StoredModels | None) -> None:
        if not self._settings.host:
            return
        machine = self._memory.machine
        try:
            host = await self._files.call(self._read, "files of", "this machine")
        except Unavailable as error:
            host = _unread(str(error))
        models = None
        if listed is None:
            self._reasons["models"] = "the models were not searched yet; see `aiidpctl models`"
        else:
            try:
                found = listed
                models = await self._disk.call(lambda: model_facts(found.models), "models of", "this machine")
                self._reasons.pop("models", None)
            except Unavailable as error:
                self._reasons["models"] = str(error)
        self._memory.machine = replace(machine, host=host, models=models, reasons=self._why())

    async def _listeners(self, heartbeat: Heartbeat) -> None:
        try:
            sockets = await self._files.call(listening, "listening sockets of", "this machine")
        except (Unavailable, OSError) as error:
            self._reasons["listeners"] = str(error)
            self._memory.machine = replace(self._memory.machine, listeners=None, reasons=self._why())
            return
        ignored = self._own_ports | frozenset(self._settings.ignored_ports)
        found = await self._memory.listeners.find(sockets, ignored, heartbeat.beat)
        self._reasons.pop("listeners", None)
        listeners: tuple[Listener, ...] = in_containers(found, self._published())
        self._memory.machine = replace(self._memory.machine, listeners=listeners, reasons=self._why())

    def _published(self) -> dict[int, str]:
        """Return the names of the containers that publish a port of the host, by that port."""
        reading = self._inspections()
        containers = reading.value.containers if reading is not None else ()
        return {
            port.host_port: each.name
            for each in containers
            for port in each.ports
            if each.running and port.host_port is not None
        }


def _unread(reason: str) -> HostFacts:
    """Return the facts of a machine none of whose files could be read, because of ``reason``."""
    return HostFacts(unread=dict.fromkeys(("firewall", "toolkit", "upgrades", "daemon"), reason))
