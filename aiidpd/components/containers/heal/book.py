"""Book of the heals: their state, which outlives the task that heals, and the file that it is in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, Final, ParamSpec

import anyio
import anyio.to_thread

from aiidpd.components.containers.heal.protocols import Recreator
from aiidpd.components.containers.heal.record import HealRecords, records, restored
from aiidpd.components.containers.heal.state import Decision, Effect, HealState, HealTally, Observed, Report
from aiidpd.contracts.messages import Cure, HealRequested
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import describe
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.jobs import Job
from aiidpd.platform.statefile import StateFile

LONGEST_WAIT: Final = 86_400.0  # seconds that a backoff from the file may last
MOST_WAITING: Final = 16  # requests of persons

P = ParamSpec("P")


@dataclass(slots=True)
class PersonsHeal:
    """Heal that a person has requested of the container ``name``; ``job`` is followed meanwhile.

    ``ended`` is set once there is a ``report`` of how it ended, or a ``problem`` for which it can't begin.
    """

    name: str
    cure: Cure
    by: str
    job: Job
    ended: anyio.Event = field(default_factory=anyio.Event)
    report: Report | None = None
    problem: str = ""

    def refuse(self, problem: str) -> None:
        """End it before it has begun."""
        self.problem = problem
        self.ended.set()


class HealBook:
    """State, requests in force, requests of persons.

    ``changed`` is set when there may be something to do, ``decided`` when the decisions were made anew.
    """

    def __init__(self, clock: Clock, inbox: Inbox[HealRequested], file: StateFile[HealRecords]) -> None:
        self.clock = clock
        self.state = HealState()
        self.tally = HealTally()
        self.decisions: tuple[Decision, ...] = ()
        self.observed: Observed | None = None
        self.inbox = inbox
        self.wanted: deque[PersonsHeal] = deque(maxlen=MOST_WAITING)
        self.persons: dict[str, PersonsHeal] = {}
        self.changed = anyio.Event()
        self.decided = anyio.Event()
        self.active = False
        self.recreator: Recreator | None = None
        self.loaded = False
        self.problem = ""
        self.file = file
        self._offset = clock.time() - clock.boottime()
        self._requests: dict[str, HealRequested] = {}
        self._saved: HealRecords | None = None

    @property
    def now(self) -> float:
        """Stamp of this moment: Unix seconds that never jump."""
        return self.clock.boottime() + self._offset

    def wake(self) -> None:
        """Have the controller decide anew."""
        self.changed.set()

    def decide(self, decisions: tuple[Decision, ...], observed: Observed) -> None:
        """Replace the decisions, which are about ``observed``; whoever waits for new ones goes on."""
        self.decisions, self.observed = decisions, observed
        self.decided.set()
        self.decided = anyio.Event()

    def slept(self) -> None:
        """Begin to wait: what changes from here on wakes."""
        self.changed = anyio.Event()

    # Requests of engines

    def requests(self, *, simulated: bool) -> dict[str, HealRequested]:
        """Return the requests in force to heal containers that are or are not ``simulated``, by id."""
        for message in self.inbox.take():
            self._requests[message.container] = message
        now = self.clock.monotonic()
        self._requests = {
            key: each for key, each in self._requests.items() if now < each.sent_at + each.hold_seconds
        }
        # What is made up is no reason to heal what is not.
        return {key: each for key, each in self._requests.items() if simulated or not each.simulated}

    def forget_requests(self, identity: str) -> None:
        """Drop what was requested before a container was healed: it was about another run."""
        self._requests.pop(identity, None)
        for message in self.inbox.take():
            if message.container != identity:
                self._requests[message.container] = message

    # Requests of persons

    def reported(self, report: Report) -> None:
        """End the request of a person whose heal has ended."""
        if report.outcome is not None and (request := self.persons.pop(report.name, None)) is not None:
            request.report = report
            request.ended.set()

    # State

    def update(
        self,
        change: Callable[Concatenate[HealState, P], tuple[HealState, tuple[Effect, ...]]],
        *arguments: P.args,
        **more: P.kwargs,
    ) -> tuple[Effect, ...]:
        """Replace the state by what ``change`` makes of it; return its effects."""
        self.state, effects = change(self.state, *arguments, **more)
        self.wake()
        return effects

    def put(
        self, change: Callable[Concatenate[HealState, P], HealState], *arguments: P.args, **more: P.kwargs
    ) -> None:
        """Replace the state by what ``change`` makes of it."""
        self.state = change(self.state, *arguments, **more)
        self.wake()

    # File

    def load(self) -> None:
        """Take over what an earlier daemon left, at the first call. Blocks."""
        if self.loaded:
            return
        found, problem = self.file.load_or_set_aside()
        self.problem = f"{problem}; budgets of heals begin anew" if problem else ""
        if found is not None:
            self.state = restored(found, self.now, LONGEST_WAIT)
        self._saved = None if problem else found or records(self.state)
        self.loaded = True

    def save_soon(self, *, simulated: bool) -> None:
        """Have a thread write the state where it has changed."""
        wanted = None if simulated else records(self.state)
        if wanted is not None and (wanted != self._saved or self.file.problem):
            self.file.save_soon(wanted)
            self._saved, self.problem = wanted, ""

    async def save(self, *, simulated: bool) -> bool:
        """Have the file hold the state; return whether it does. What is made up is not stored."""
        if simulated:
            return True
        wanted = records(self.state)
        try:
            await anyio.to_thread.run_sync(self.file.saving(wanted), abandon_on_cancel=True)
        except OSError as error:
            self.problem = f"cannot write {self.file.path}: {describe(error)}; nothing is healed until it can"
            self._saved = None
            return False
        self._saved, self.problem, self.file.problem = wanted, "", ""
        return True

    @property
    def trouble(self) -> str:
        """Reason why the file can't be used, empty where it can."""
        return self.problem or self.file.problem
