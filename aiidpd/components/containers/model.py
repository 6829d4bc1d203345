"""Containers as they are known: stepped through observations, shown, published and saved."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from aiidpd.components.containers.cause import Witnesses
from aiidpd.components.containers.conditions import WATCHED, conditions
from aiidpd.components.containers.memory import ContainersMemory
from aiidpd.components.containers.reducer import step
from aiidpd.components.containers.remembered import RememberedContainers, restored
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.components.containers.state import Effects, Inspected, Observation, Snapshot
from aiidpd.components.containers.stopped import StoppedContainers
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher

SAVE_EVERY: Final = 2.0
"""Seconds between two writes at the least."""
_BY_EVENTS: Final = frozenset(
    {"container.started", "container.died", "container.restarts_unseen", "container.removed"}
)


class ContainersModel:
    """State in ``memory``, which outlives this object, and everything that is made of it.

    ``owned(id)``: this pause is ours and already published, so its paused and unpaused events are dropped.
    ``failure(id)`` is the last failure of a container in words, empty where none has a name.
    ``remembered`` has what an earlier daemon saw. ``unreadable`` and ``version`` are those of the last
    reading of all; ``changed`` is True where something is to be saved.
    """

    def __init__(
        self,
        memory: ContainersMemory,
        *,
        latest: Latest[RuntimeSnapshot],
        publisher: Publisher,
        conditions: Conditions,
        stopped: StoppedContainers,
        clock: Clock,
        owned: Callable[[str], bool],
        remembered: RememberedContainers | None,
        witnesses: Witnesses,
        failure: Callable[[str], str],
    ) -> None:
        self.memory = memory
        self.unreadable: tuple[tuple[str, str], ...] = ()
        self.version = ""
        self.changed = False
        self._latest = latest
        self._publisher = publisher
        self._conditions = conditions
        self._stopped = stopped
        self._clock = clock
        self._owned = owned
        self._remembered = None if publisher.simulated else remembered
        self._witnesses = witnesses
        self._failure = failure
        self._saved = -inf
        self._changed_at = inf

    @property
    def listed(self) -> bool:
        """True once all containers were read, by this daemon or an earlier one."""
        return self.memory.state.listed

    @property
    def stale(self) -> frozenset[str]:
        """Ids of the containers that wait to be read."""
        return self.memory.state.stale

    def resume(self) -> None:
        """Take over what an earlier daemon knew, where this one knows nothing yet. Blocks for a file."""
        if self._remembered is None or self.listed:
            return
        found = self._remembered.load()
        if found is not None:
            self.memory.state = restored(found, self._clock.time())
            self.memory.seen = found.seen

    def surprising(self, reading: Inspected | Snapshot) -> bool:
        """Return whether ``reading`` shows a run, or an end of one, that no event told of."""
        _, effects = step(self.memory.state, reading, self._clock.time(), self._witnesses)
        return any(effect.kind in _BY_EVENTS for effect in effects)

    def step(self, observation: Observation) -> Effects:
        """Step through ``observation``, publish what changed and return it."""
        now = self._clock.time()
        state, effects = step(self.memory.state, observation, now, self._witnesses)
        self.memory.state = state
        if effects or not isinstance(observation, Snapshot):
            self._changed_at = min(self._changed_at, self._clock.monotonic())
            self.changed = True
        for effect in effects:
            if effect.kind == "container.died":
                self.memory.ends[effect.subject, str(effect.evidence["by"])] += 1
            if not self._owned_pause(effect):
                self._publisher.effect(effect)
        return effects

    def _owned_pause(self, event: Event) -> bool:
        identity = str(event.evidence.get("id"))
        if event.kind == "container.paused" and self._owned(identity):
            self.memory.paused.add(identity)
            return True
        if event.kind == "container.unpaused" and identity in self.memory.paused:
            self.memory.paused.discard(identity)
            return True
        if event.kind in ("container.died", "container.removed"):
            self.memory.paused.discard(identity)
        return False

    def put(self, listed_at: float = -inf) -> None:
        """Show what is known now; all of it was read from monotonic second ``listed_at`` on."""
        state = self.memory.state
        known = sorted(state.known.values(), key=lambda one: one.name)
        # One that was paused by us when it was first read had no event of its pause.
        self.memory.paused |= {one.id[:12] for one in known if one.paused and self._owned(one.id)}
        readings = tuple(one.reading for one in known if one.reading is not None)
        self._latest.put(RuntimeSnapshot(readings, self.version, self._publisher.simulated, self.unreadable))
        found = conditions(state, simulated=self._publisher.simulated, failure=self._failure)
        self._conditions.update(WATCHED, found, announce=False)  # its events have been published
        unread = [one.id for one in known if one.reading is None] + [key for key, _ in self.unreadable]
        self._stopped.observe(readings, unread, simulated=self._publisher.simulated, listed_at=listed_at)
        names = {one.name for one in known}
        for key in [key for key in self.memory.ends if key[0] not in names]:
            del self.memory.ends[key]

    def sample(self, snapshot: RuntimeSnapshot) -> None:
        """Sample how many containers run, and how many are unhealthy."""
        counts = {
            "running_containers": sum(one.running for one in snapshot.containers),
            "unhealthy_containers": sum(one.health == "unhealthy" for one in snapshot.containers),
        }
        for series, count in counts.items():
            self._publisher.sample(series, "engine", float(count))

    def save(self, *, now: bool = False) -> None:
        """Save what is known where it changed, at most every two seconds or ``now``.

        A change is saved with the readings that it asks for, which follow at once: what a later daemon reads
        would else differ from the file, and be published again.
        """
        if self._remembered is None or not (self.changed and self.listed):
            return
        clock = self._clock.monotonic()
        unread = self.stale and clock - self._changed_at < SAVE_EVERY
        if self.memory.state.resumed_at is None and (
            now or (clock - self._saved >= SAVE_EVERY and not unread)
        ):
            self._remembered.save(self.memory.state, self._clock.time())
            self.changed, self._saved, self._changed_at = False, clock, inf
