"""Trials of a daemon: wishes, states, journal. It outlives the task that carries them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

import anyio.to_thread

from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.trial.journal import TrialJournal
from aiidpd.components.containers.trial.state import ImageTrial
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.contracts.trials import ImageTrialRequested, ImageTrialState, ImageTrialsView, Wish
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.reading import Reading

_MOST: Final = 20  # states of trials that have ended, or were planned only


class ImageActions(ContainerActions, Protocol):
    """Acts on containers, and the pull of an image."""

    async def image_refusal(self, container: str, image: str) -> str:
        """Return why the runtime would not have an image tried in the place of a container, or nothing."""

    async def pull(
        self, reference: str, progress: Callable[[str], None], *, container: str, within: float = 3600.0
    ) -> Any:
        """Have the runtime fetch an image for a container; return its description, None for no such image."""


class TrialBook:
    """Present wishes by trial, and the state of each trial that is known."""

    def __init__(
        self,
        clock: Clock,
        inbox: Inbox[ImageTrialRequested],
        emergencies: Inbox[EmergencyStop],
        journal: TrialJournal,
    ) -> None:
        self.clock = clock
        self.inbox = inbox
        self.emergencies = emergencies
        self.journal = journal
        self.problem = ""
        self._states: dict[str, ImageTrialState] = {}
        self._requests: dict[str, ImageTrialRequested] = {}
        self._read = clock.monotonic()

    def take(self) -> None:
        """Take the requests that have come; of each trial the newest counts."""
        for request in self.inbox.take():
            self._requests[request.trial] = request

    def requests(self) -> tuple[ImageTrialRequested, ...]:
        """Return the requests in force, the oldest first."""
        now = self.clock.monotonic()
        self._requests = {
            key: each for key, each in self._requests.items() if now < each.sent_at + each.hold_seconds
        }
        return tuple(self._requests.values())

    def wish(self, trial: str) -> Wish:
        """Return the wish for a trial: to go back, where none is in force."""
        self.take()
        found = next((each for each in self.requests() if each.trial == trial), None)
        return Wish.BACK if found is None else found.wish

    def done(self, trial: str) -> None:
        """Drop the request about a trial that needs nothing more."""
        self._requests.pop(trial, None)

    def state(self, entry: ImageTrial) -> ImageTrialState:
        """Return the state of a trial that was begun."""
        known = self._states.get(entry.trial)
        return known or ImageTrialState(entry.trial, entry.name, entry.image, old_id=entry.old)

    def known(self, trial: str) -> ImageTrialState | None:
        """Return the state of a trial, None where nothing is known of it."""
        return self._states.get(trial)

    def put(self, state: ImageTrialState) -> None:
        """Replace the state of a trial."""
        self._states.pop(state.trial, None)
        self._states[state.trial] = state
        over = [key for key in self._states if key not in {each.trial for each in self.journal.active}]
        for key in over[:-_MOST]:
            del self._states[key]
        self._read = self.clock.monotonic()

    def change(self, entry: ImageTrial, **fields: Any) -> ImageTrialState:
        """Replace fields of the state of a trial that was begun; return it."""
        state = replace(self.state(entry), **fields)
        self.put(state)
        return state

    async def store(self, entry: ImageTrial) -> bool:
        """Have the journal hold ``entry``; return whether it is on the disk."""
        try:
            await anyio.to_thread.run_sync(self.journal.saving(entry), abandon_on_cancel=True)
        except OSError:
            return False
        return True

    @property
    def names(self) -> frozenset[str]:
        """Names of the containers in whose place another image is tried now."""
        return frozenset(each.name for each in self.journal.active)

    def view(self) -> Reading[ImageTrialsView]:
        """Return the view of all of them."""
        return Reading(
            ImageTrialsView(tuple(self._states.values()), self.problem), self.clock.time(), self._read
        )
