"""Liveness as a part of the component: its task, its verdicts, and what sends engines a completion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.component import Context
from aiidpd.components.engines.liveness.history import EngineHistories
from aiidpd.components.engines.liveness.memory import NAME as HISTORIES
from aiidpd.components.engines.liveness.memory import LivenessMemory
from aiidpd.components.engines.liveness.metrics import LivenessCollector
from aiidpd.components.engines.liveness.verdicts import Verdicts
from aiidpd.components.engines.liveness.worker import DEADLINE, NAME, LivenessWorker, Sources
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.messages import BackOffMessage
from aiidpd.engines.target import Target
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import InactiveWorker, Task
from aiidpd.platform.statefile import StateFile

_DISK: Final = 1.0  # seconds that the end of the daemon waits for the disk


class Liveness:
    """Verdicts on the engines of ``engines``, and the task that forms them.

    ``target`` returns what sends an engine a completion, None where that is not possible.
    """

    def __init__(
        self,
        context: Context,
        settings: Callable[[], LivenessSettings],
        engines: Callable[[], Reading[EnginesView] | None],
        target: Callable[[EngineState], Target | None],
    ) -> None:
        self.verdicts = Verdicts()
        self.collector = LivenessCollector(self.verdicts)
        self.task = Task(NAME, self._worker, lambda: DEADLINE)
        self._context = context
        self._settings = settings
        self._engines = engines
        self._target = target
        self._back_offs = context.messages.inbox(BackOffMessage)
        self._memory = LivenessMemory(StateFile(context.state_directory / HISTORIES, EngineHistories))

    def close(self) -> None:
        """Wait until what was learned is on the disk."""
        self._memory.wait(_DISK)

    def _worker(self) -> LivenessWorker | InactiveWorker:
        context, settings = self._context, self._settings()
        if not settings.enabled:
            return InactiveWorker("switched off by engines.liveness.enabled = false")

        def engines() -> EnginesView | None:
            reading = self._engines()
            return reading.value if reading is not None else None

        return LivenessWorker(
            Sources(engines, context.views),
            settings,
            memory=self._memory,
            verdicts=self.verdicts,
            target=self._target,
            publish=context.publish,
            conditions=context.conditions,
            messages=context.messages,
            clock=context.clock,
            back_offs=self._back_offs,
        )
