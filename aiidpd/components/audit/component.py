"""Component audit: how containers, their engine, this machine and its models are secured."""

from __future__ import annotations

from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.audit.api import routes
from aiidpd.components.audit.conditions import CRITICAL
from aiidpd.components.audit.memory import LIMIT, STATE, AuditMemory
from aiidpd.components.audit.metrics import AuditCollector
from aiidpd.components.audit.settings import AuditSettings
from aiidpd.components.audit.state import FindingRecords
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.contracts.gpus import GPUS
from aiidpd.contracts.inspections import INSPECTIONS
from aiidpd.contracts.models import MODELS
from aiidpd.kernel.task import InactiveWorker, Task, Worker
from aiidpd.platform.statefile import StateFile

NAME: Final = "audit"
HOST: Final = "audit.host"
OFF: Final = "switched off by audit.enabled"
_DEADLINE: Final = 60.0
_HOST_DEADLINE: Final = 120.0
_DISK: Final = 1.0  # seconds that the end of the daemon waits for the disk


def build(context: Context) -> Component:
    """Return the component."""
    settings = context.settings(NAME, AuditSettings)
    memory = AuditMemory(
        StateFile(context.state_directory / STATE, FindingRecords, limit=LIMIT), context.clock
    )

    def worker() -> Worker:
        if not settings().enabled:
            memory.latest.clear()
            context.conditions.update((CRITICAL,), (), announce=False)
            return InactiveWorker(OFF)
        from aiidpd.components.audit.worker import AuditWorker, Sources

        sources = Sources(
            lambda: context.views.get(INSPECTIONS),
            lambda: context.views.get(GPUS),
            lambda: context.views.get(MODELS),
        )
        return AuditWorker(
            settings(),
            sources,
            memory,
            publish=context.publish,
            conditions=context.conditions,
            clock=context.clock,
        )

    def host() -> Worker:
        if not settings().enabled:
            return InactiveWorker(OFF)
        from aiidpd.components.audit.host.worker import HostReader

        return HostReader(
            settings(),
            memory,
            inspections=lambda: context.views.get(INSPECTIONS),
            models=lambda: context.views.get(MODELS),
            own_ports=own_ports(context),
            clock=context.clock,
        )

    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE), Task(HOST, host, lambda: _HOST_DEADLINE)),
        collectors={NAME: AuditCollector(memory.latest)},
        routes=routes(memory.latest, lambda: context.status(NAME)),
        close=lambda: memory.wait(_DISK),
    )


def own_ports(context: Context) -> frozenset[int]:
    """Return the ports at which the daemon itself listens."""
    telemetry = getattr(context.configuration(), "telemetry", None)
    address = getattr(telemetry, "address", None)
    return frozenset((address[1],)) if address else frozenset()


def _checks(_settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    from aiidpd.components.audit.checks import checks

    return checks(around)


SPEC: Final = Spec(NAME, {NAME: AuditSettings}, build, checks=_checks)
