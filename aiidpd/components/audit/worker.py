"""Tasks of the audit: one judges containers as soon as they change, one reads this machine now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import anyio
import anyio.lowlevel

from aiidpd.components.audit.conditions import update_conditions, update_state
from aiidpd.components.audit.evaluate import Subjects
from aiidpd.components.audit.facts import Declared, Facts
from aiidpd.components.audit.finding import Waiver
from aiidpd.components.audit.memory import AuditMemory, AuditView
from aiidpd.components.audit.settings import AuditSettings
from aiidpd.components.audit.state import step
from aiidpd.contracts.gpus import GpusView
from aiidpd.contracts.inspections import Inspection, Inspections
from aiidpd.contracts.models import StoredModels
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.thread import ThreadProbe

COMPOSE: Final = "com.docker.compose.service"
POLL: Final = 0.5
"""Seconds between two looks at the containers."""
_FILES: Final = 15.0  # seconds after which compose files are compared with their containers again
_AT_ONCE: Final = 10  # containers that are judged before others may work
_PATIENCE: Final = 10.0  # seconds that reading compose files may take
NO_CONTAINERS: Final = "the containers are not known now; see `aiidpctl containers`"


class Sources:
    """Views that are judged."""

    def __init__(
        self,
        inspections: Callable[[], Reading[Inspections] | None],
        gpus: Callable[[], Reading[GpusView] | None],
        models: Callable[[], Reading[StoredModels] | None],
    ) -> None:
        self.inspections = inspections
        self.gpus = gpus
        self.models = models


class AuditWorker:
    """Judges everything again when a container, the engine, the machine or the day changed."""

    simulated: Final = False

    def __init__(
        self,
        settings: AuditSettings,
        sources: Sources,
        memory: AuditMemory,
        *,
        publish: Publisher,
        conditions: Conditions,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._memory = memory
        self._publish = publish
        self._conditions = conditions
        self._clock = clock
        self._declared: Callable[[Iterable[Inspection]], Mapping[str, Declared]] | None = None
        self._probe = ThreadProbe(clock, _PATIENCE)

    async def run(self, heartbeat: Heartbeat) -> None:
        self._memory.load()
        seen: tuple[object, ...] | None = None
        due = 0.0
        while True:
            now = self._signature()
            if now != seen or self._clock.monotonic() >= due:
                with heartbeat.working():
                    await self._audit()
                seen, due = now, self._clock.monotonic() + _FILES
            await heartbeat.idle(anyio.Event(), POLL)

    def _signature(self) -> tuple[object, ...]:
        """Return what the findings follow from; compared by equality, which is quick for what is the same."""
        reading = self._sources.inspections()
        seen = None if reading is None else (reading.value.containers, reading.value.engine)
        return seen, self._memory.machine, self._gpus(), self._today()

    async def _audit(self) -> None:
        reading = self._sources.inspections()
        containers = reading.value.containers if reading is not None else None
        simulated = reading is not None and reading.value.simulated
        declared = {} if simulated else await self._services(containers or ())
        machine = self._memory.machine
        models = machine.models
        subjects = Subjects(
            containers=containers,
            listeners=machine.listeners,
            models=models,
            facts=Facts(
                engine=reading.value.engine if reading is not None else None,
                host=machine.host,
                gpus=self._gpus(),
                model_folders=tuple(sorted({each.folder for each in models or () if each.folder})),
                declared=declared,
            ),
            waivers=self._waivers(),
            simulated=simulated,
            reasons={"containers": NO_CONTAINERS, **machine.reasons},
        )
        judged_now = 0
        for each in containers or ():
            judged_now += self._memory.auditor.judge(each, subjects.facts)
            if judged_now >= _AT_ONCE:
                judged_now = 0
                await anyio.lowlevel.checkpoint()  # hundreds of them would hold up the loop
        report = self._memory.auditor.audit(subjects)
        judged = {"waiver", "host"}
        judged |= {"container", "engine"} if containers is not None else set()
        judged |= {"listener"} if machine.listeners is not None else set()
        judged |= {"model"} if models is not None else set()
        state, events = step(self._memory.state, report, frozenset(judged), self._clock.time())
        publish = self._publish.marked(simulated=simulated)
        for event in events:
            publish.effect(event)
        self._memory.put(state)
        self._memory.latest.put(AuditView(report, state.known))
        update_conditions(self._conditions, report)
        update_state(self._conditions, self._memory.path, self._memory.problem)

    async def _services(self, containers: Sequence[Inspection]) -> Mapping[str, Declared]:
        """Return the service of each container that compose made; none where its disk is dead."""
        if not any(COMPOSE in each.labels for each in containers):
            return {}
        if self._declared is None:
            from aiidpd.components.audit.declared import DeclaredServices  # noqa: PLC0415 -- few need YAML

            self._declared = DeclaredServices().find
        find = self._declared
        try:
            return await self._probe.call(lambda: find(containers), "compose files of", "containers")
        except Unavailable:
            return {}

    def _gpus(self) -> int | None:
        reading = self._sources.gpus()
        return None if reading is None else len(reading.value.gpus)

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock.time(), UTC).astimezone().date().isoformat()

    def _waivers(self) -> Sequence[Waiver]:
        today = self._today()
        return [
            Waiver(each.rule, each.subject, each.reason, each.until, ended=each.until < today)
            for each in self._settings.waivers
        ]
