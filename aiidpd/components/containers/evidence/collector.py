"""Collects what a heal would destroy, and has it in an incident on the disk before the heal begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.evidence.document import (
    LOG_LINES,
    Gathered,
    description,
    entry,
    file_name,
    log_text,
    redactor,
    scalars,
)
from aiidpd.components.containers.evidence.heals import HEAL_EVIDENCE, HealEvidence
from aiidpd.components.containers.heal.protocols import HealSubject
from aiidpd.components.containers.logs.named import NamedFailures
from aiidpd.contracts.containers import CONTAINER_USE
from aiidpd.contracts.engines import ENGINES
from aiidpd.contracts.gpus import GPUS
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable, describe
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.views import Views

_READING: Final = 2.0  # seconds that reading from the runtime may take, both calls side by side
_WRITING: Final = 3.0  # seconds that the disk may take
_OWN: Final = frozenset({"id", "fault", "about", "severity"})  # names that the event itself gives

T = TypeVar("T")


class IncidentCollector:
    """An :class:`~aiidpd.components.containers.heal.protocols.EvidenceCollector` that writes incidents.

    ``actions`` belong to whoever heals, who closes them. Five seconds pass at most, whatever hangs.
    """

    def __init__(
        self,
        actions: ContainerActions,
        *,
        evidence: HealEvidence,
        failures: NamedFailures,
        recorder: IncidentRecorder,
        views: Views,
        publish: Publisher,
        clock: Clock,
    ) -> None:
        self._actions = actions
        self._evidence = evidence
        self._failures = failures
        self._recorder = recorder
        self._views = views
        self._publish = publish
        self._clock = clock

    async def collect(self, subject: HealSubject, evidence: Mapping[str, Scalar]) -> str:
        """Write an incident about ``subject``; see the protocol."""
        gathered = await self._gather(subject)
        try:
            about, texts, shown = await anyio.to_thread.run_sync(
                partial(self._documents, subject, gathered, evidence), abandon_on_cancel=True
            )
        except Exception as error:  # noqa: BLE001 -- whatever is in them, the heal has its incident
            about, texts, shown = self._least(subject, describe(error)), {}, {}
        publish = self._publish.marked(simulated=subject.simulated)
        texts = self._named(subject, about, texts)
        with self._evidence.beginning(about, texts):
            event = publish.event(
                HEAL_EVIDENCE,
                f"evidence of it is collected, since a heal is to begin: {about['reason']}",
                about=subject.container.name,
                severity=Severity.WARNING,
                id=subject.container.id[:12],
                fault=subject.fault,
                **{name: value for name, value in shown.items() if name not in _OWN},
            )
        with anyio.move_on_after(_WRITING):
            return await self._recorder.written(event)
        return ""

    async def _gather(self, subject: HealSubject) -> Gathered:
        """Read everything at once."""
        container = subject.container
        missing: dict[str, str] = {}
        found: dict[str, Any] = {}

        async def read(name: str, call: Callable[[], Awaitable[object]]) -> None:
            with anyio.move_on_after(_READING) as scope:
                try:
                    found[name] = await call()
                except Unavailable as error:
                    missing[name] = error.reason
                except Exception as error:  # noqa: BLE001 -- the other evidence is not lost for it
                    missing[name] = describe(error)
                else:
                    if found[name] is None:
                        missing[name] = "the container does not exist any more"
            if scope.cancelled_caught:
                missing[name] = f"the runtime did not answer within {_READING:g} s"

        async with anyio.create_task_group() as group:
            group.start_soon(read, "inspect", partial(self._actions.describe, container.id))
            group.start_soon(read, "log", partial(self._actions.logs, container.id, lines=LOG_LINES))
        tail = found.get("log")
        if tail is not None and tail.unreadable:
            missing["log"] = tail.unreadable
        engines = self._views.get(ENGINES)
        uses = self._views.get(CONTAINER_USE)
        gpus = self._views.get(GPUS)
        states = engines.value.engines if engines is not None else ()
        engine = next((each for each in states if each.container == container.id), None)
        use = uses.value.by_id.get(container.id) if uses is not None else None
        for name, known in (("engine", engine), ("use", use), ("gpus", gpus)):
            if known is None:
                missing[name] = "not known now"
        return Gathered(
            container,
            described=found.get("inspect"),
            tail=tail,
            engine=engine,
            use=use,
            gpus=gpus.value.gpus if gpus is not None else (),
            failure=self._failures.get(container.id),
            missing=missing,
        )

    def _documents(
        self, subject: HealSubject, gathered: Gathered, evidence: Mapping[str, Scalar]
    ) -> tuple[dict[str, Any], dict[str, str], dict[str, Scalar]]:
        """Return the part of the incident, its texts by their kind, and the evidence of the event."""
        redact = redactor(gathered.container, gathered.described)
        about = entry(
            gathered,
            redact,
            fault=subject.fault,
            reason=subject.reason,
            evidence=evidence,
            at=self._clock.time(),
        )
        texts: dict[str, str] = {}
        if gathered.tail is not None and gathered.tail.lines:
            texts["log"] = log_text(gathered.tail, redact)
        if gathered.described is not None:
            texts["inspect"] = description(gathered.described, redact)
        return about, texts, scalars(evidence, redact)

    def _least(self, subject: HealSubject, reason: str) -> dict[str, Any]:
        """Return the part of an incident of which nothing but the facts of the heal could be made."""
        gathered = Gathered(subject.container, missing={"everything": reason})
        return entry(
            gathered,
            redactor(subject.container, None),
            fault=subject.fault,
            reason=subject.reason,
            evidence={},
            at=self._clock.time(),
        )

    def _named(self, subject: HealSubject, about: dict[str, Any], texts: Mapping[str, str]) -> dict[str, str]:
        """Return ``texts`` by the names of their files, which ``about`` gets as well."""
        files: dict[str, str] = {}
        for kind, ending in (("log", "txt"), ("inspect", "json")):
            about[f"{kind}_file"] = ""
            if kind in texts:
                name = file_name(kind, subject.container, ending, self._evidence.taken)
                about[f"{kind}_file"] = name
                files[name] = texts[kind]
        return files
