"""Carries out what :mod:`.decide` says, until a re-creation is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import anyio.to_thread

from aiidpd.components.containers.actions import ContainerActions, Refused
from aiidpd.components.containers.recreate.decide import Act, next_act
from aiidpd.components.containers.recreate.described import name_of, runs
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.recreate.state import Phase, Recreation, Situation, place_of
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.redaction import Redactor

_ENDS: Final = frozenset({Act.RECREATED, Act.RESTORED, Act.REPLACED, Act.GONE})
_GIVING_WAY: Final = frozenset({Act.RENAME_OLD, Act.RENAME_NEW, Act.START_NEW})
"""Acts of the way forward: where one is refused, the old container gets its place back."""

_MOST_ACTS: Final = 60
_MOST_REFUSALS: Final = 5  # of one act; a removal that goes on already is refused too
_LOOK_AGAIN: Final = 0.2  # seconds
_PATIENCE: Final = 3600.0  # seconds for which a copy waits for the end of the old container
_LONGEST_ERROR: Final = 300  # characters


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of a re-creation: how it ended, which container has the place, and what went wrong, if anything."""

    act: Act
    identity: str
    problem: str = ""


@dataclass(slots=True)
class _Course:
    """One run of the driver: the entry as it is now, and what has happened."""

    entry: Recreation
    problem: str = ""
    proven: bool = False
    restarted: bool = False
    refusals: Counter[Act] = field(default_factory=Counter)


class Driver:
    """Works on the containers of one entry at a time; ``settle`` is how many seconds a copy has to run."""

    def __init__(
        self, actions: ContainerActions, journal: RecreationJournal, clock: Clock, *, settle: float
    ) -> None:
        self._actions = actions
        self._journal = journal
        self._clock = clock
        self._settle = settle

    async def run(self, entry: Recreation, *, watch: bool = True, stops: bool = True) -> Outcome | None:
        """Finish ``entry``, or undo it; return how it ended.

        Not ``watch``: return None as soon as nothing is left but to see whether the copy goes on running.
        Not ``stops``: return None before an old container would be stopped that runs.
        Raises ``Unavailable``, and then the entry is to be finished later.
        """
        course = _Course(entry)
        for _ in range(_MOST_ACTS):
            seen = await self._see(course)
            act = next_act(course.entry, seen)
            if act in _ENDS:
                identity = entry.new if act is Act.RECREATED else entry.old
                return Outcome(act, identity, course.problem)
            if (act is Act.WATCH_NEW and not watch) or (act is Act.STOP_OLD and not stops):
                return None
            began = self._clock.monotonic()
            try:
                await self._do(act, course, seen)
                if act is Act.START_NEW:
                    if not watch:
                        return None
                    await self._prove(course, seen)
                course.restarted = course.restarted or act is Act.START_OLD
            except Unavailable as error:
                waited = self._clock.monotonic() - began >= entry.grace
                if act is Act.STOP_OLD and await self._endless(course, error, waited=waited):
                    continue
                if not isinstance(error, Refused):
                    raise
                ended = await self._refused(act, course, seen, error)
                if ended is not None:
                    return ended
        raise Unavailable("recreate", f"container {entry.name}", reason="something else acts on it as well")

    async def _see(self, course: _Course) -> Situation:
        entry = course.entry
        old = await self._actions.describe(entry.old)
        new = await self._actions.describe(entry.new) if entry.new else None
        holder = await self._actions.describe(entry.name)
        taken = (
            holder is not None
            and name_of(holder) == entry.name
            and str(holder["Id"]) not in (entry.old, entry.new)
        )
        return Situation(place_of(old), place_of(new), taken, course.proven, course.restarted)

    async def _do(self, act: Act, course: _Course, seen: Situation) -> None:
        entry, actions = course.entry, self._actions
        calls: Mapping[Act, Callable[[], Awaitable[object]]] = {
            Act.STOP_OLD: lambda: actions.stop(entry.old, entry.grace),
            Act.RENAME_OLD: lambda: actions.rename(entry.old, entry.old_name),
            Act.RENAME_NEW: lambda: actions.rename(entry.new, entry.name),
            Act.START_NEW: lambda: actions.start(entry.new),
            Act.WATCH_NEW: lambda: self._prove(course, seen),
            Act.RESTORE: lambda: self._restore(course),
            Act.STOP_NEW: lambda: actions.stop(entry.new, entry.grace),
            Act.REMOVE_OLD: lambda: actions.remove(entry.old),
            Act.REMOVE_NEW: lambda: actions.remove(entry.new),
            Act.NAME_OLD: lambda: actions.rename(entry.old, entry.name),
            Act.START_OLD: lambda: actions.start(entry.old),
        }
        await calls[act]()

    async def _refused(self, act: Act, course: _Course, seen: Situation, error: Refused) -> Outcome | None:
        """Return how it ends where the runtime does not do ``act``; None where there is another way."""
        entry, reason = course.entry, error.reason
        course.refusals[act] += 1
        if act is Act.START_OLD:
            before = f"{course.problem}; " if course.problem else ""
            return Outcome(Act.RESTORED, entry.old, f"{before}and the old one does not start: {reason}")
        if act is Act.START_NEW and seen.old is None:
            return Outcome(Act.RECREATED, entry.new, f"it does not start: {reason}")
        if act in _GIVING_WAY:
            course.problem = course.problem or reason
            await self._restore(course)
        elif course.refusals[act] < _MOST_REFUSALS:
            await self._clock.sleep(_LOOK_AGAIN)
        elif act is Act.REMOVE_OLD:
            return Outcome(Act.REMOVE_OLD, entry.new, f"the old one can't be removed: {reason}")
        else:
            raise error
        return None

    async def _endless(self, course: _Course, error: Unavailable, *, waited: bool) -> bool:
        """Return whether there is a way on after a stop of the old container that has failed.

        Raises ``Unavailable`` where it can't be ended. It may yet end, and would be down then: so the copy
        waits, to take its place as soon as that is free. ``waited``: it had its grace.
        """
        entry = course.entry
        old = await self._actions.describe(entry.old)
        if old is None or not runs(old):
            return True  # it has ended all the same
        if self._clock.time() - entry.at > _PATIENCE:
            course.problem = f"it does not end: {error.reason}"
            await self._restore(course)
            return True
        if not waited and not isinstance(error, Refused):
            return False
        raise Unavailable(
            "stop",
            f"container {entry.name}",
            reason=f"it did not end within {entry.grace:g} s, nor when it was killed ({error.reason})",
            remedy="what hangs in a driver ends with a reboot; the new one starts once it has ended",
        ) from error

    async def _prove(self, course: _Course, seen: Situation) -> None:
        problem = await self._watch(course.entry.new)
        course.problem = problem or course.problem
        course.proven = True
        if problem and seen.old is not None:
            await self._restore(course)

    async def _watch(self, identity: str) -> str:
        """Return why the copy does not go on running, an empty text where it does."""
        deadline = self._clock.monotonic() + self._settle
        while True:
            found = await self._actions.describe(identity)
            if found is None:
                return "the new one was removed"
            state = found["State"]
            if state["Status"] != "running" or found.get("RestartCount"):
                error = Redactor().text(str(state.get("Error") or "")[:_LONGEST_ERROR])
                words = f" ({error})" if error else ""
                return f"the new one ended at once, with code {state.get('ExitCode')}{words}"
            if self._clock.monotonic() >= deadline:
                return ""
            await self._clock.sleep(min(_LOOK_AGAIN, self._settle))

    async def _restore(self, course: _Course) -> None:
        course.entry = replace(course.entry, phase=Phase.RESTORING)
        # What is on the disk already leads to the same, by one more try of the copy.
        with suppress(OSError):
            await anyio.to_thread.run_sync(self._journal.saving(course.entry), abandon_on_cancel=True)
