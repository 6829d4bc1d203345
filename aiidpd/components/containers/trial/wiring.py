"""Trials of a daemon, put together: what outlives their task, and the view of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, cast

from aiidpd.component import Context
from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.off import OFF
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.containers.stopped import StoppedContainer, StoppedContainers
from aiidpd.components.containers.trial.book import ImageActions, TrialBook
from aiidpd.components.containers.trial.controller import TrialController
from aiidpd.components.containers.trial.events import TrialPublisher
from aiidpd.components.containers.trial.journal import NAME, TrialJournal
from aiidpd.components.containers.trial.opening import TrialTools
from aiidpd.components.containers.trial.state import ImageTrial
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.contracts.trials import IMAGE_TRIALS, ImageTrialRequested
from aiidpd.kernel.task import InactiveWorker

TASK: Final = "containers.trials"
_MADE_UP: Final = "made-up containers have no images to try"


class HealingNow(Protocol):
    """Healer, as far as trials need to know of it."""

    def healing(self, name: str) -> bool:
        """Return whether the container is being healed."""

    def stop_grace(self, name: str) -> float:
        """Return how many seconds a container has to end."""


class Trials:
    """Owns the book of the trials, and offers the view of them."""

    def __init__(
        self, context: Context, settings: Callable[[], ContainersSettings], recreations: RecreationJournal
    ) -> None:
        self._context = context
        self._settings = settings
        self._recreations = recreations
        self._book = TrialBook(
            context.clock,
            context.messages.inbox(ImageTrialRequested),
            context.messages.inbox(EmergencyStop),
            TrialJournal(context.state_directory / NAME),
        )
        context.views.offer(IMAGE_TRIALS, self._book.view)

    @property
    def names(self) -> frozenset[str]:
        """Names of the containers in whose place another image is tried now."""
        return self._book.names

    def task(
        self, actions: Callable[[], ContainerActions], healer: HealingNow, stopped: StoppedContainers
    ) -> TrialController | InactiveWorker:
        """Return the worker of the task, on ``actions`` of its own."""
        settings, context = self._settings(), self._context
        publisher = TrialPublisher(context.publish, context.conditions)
        if settings.engine in ("off", "simulated"):
            publisher.switched_off()
            self._book.problem = OFF if settings.engine == "off" else _MADE_UP
            return InactiveWorker(self._book.problem)

        def busy(name: str) -> str:
            if healer.healing(name):
                return "it is being healed"
            creating = any(each.name == name for each in self._recreations.active)
            return "it is being created anew" if creating else ""

        def barred(entry: ImageTrial, message: EmergencyStop) -> None:
            stopped.add(
                StoppedContainer(
                    entry.old, entry.name, None, context.clock.time(), message.gpu, message.reason
                ),
                simulated=False,
            )

        tools = TrialTools(
            cast("ImageActions", actions()),
            self._recreations,
            publisher,
            context.clock,
            settings.upgrades,
            busy=busy,
            stop_grace=healer.stop_grace,
            barred=barred,
        )
        return TrialController(self._book, tools)
