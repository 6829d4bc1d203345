"""Carries trials of images out: one act at a time, each decided anew by the wish and by what is there.

What needs to be undone is in the journal before it is done. A wish that was not repeated in time, an engine
that has ended, a daemon that was killed: the old container gets its place back, and runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import anyio.to_thread

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.trial.acts import Seen, act_on, create, log_of, see, tried
from aiidpd.components.containers.trial.book import TrialBook
from aiidpd.components.containers.trial.decide import ENDS, Act, next_act
from aiidpd.components.containers.trial.differences import described_differences
from aiidpd.components.containers.trial.opening import POLL, TrialOpening, TrialTools
from aiidpd.components.containers.trial.state import ImageTrial, Phase, Situation
from aiidpd.contracts.trials import (
    Serving,
    TrialEnd,
    Wish,
)
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.statefile import StateUnreadable

_BEAT: Final = 5.0
_LONGEST_WAIT: Final = 30.0  # seconds between two tries to bring one back
_MOST_REFUSALS: Final = 5
_ON_DISK_FIRST: Final = frozenset({Act.STOP_OLD, Act.RENAME_OLD})
_FORWARD: Final = frozenset(
    {Act.CREATE_NEW, Act.CREATE_BESIDE, Act.START_BESIDE, Act.RENAME_OLD, Act.NAME_NEW, Act.START_NEW}
)
"""Acts of the way forward: where one is refused, the old container gets its place back."""

_REMOVALS: Final = frozenset({Act.REMOVE_OLD, Act.REMOVE_NEW, Act.REMOVE_BESIDE})
_ENDED: Final[dict[Act, TrialEnd]] = {
    Act.RETURNED: "returned",
    Act.KEPT: "kept",
    Act.REPLACED: "replaced",
    Act.GONE: "gone",
}


@dataclass(slots=True)
class _Course:
    """Passing facts of one trial: refusals of acts, since when it waits for what, when nobody served."""

    refusals: Counter[Act] = field(default_factory=Counter)
    stop_called: float | None = None
    started: float | None = None
    down_since: float | None = None
    starts: int = 0
    next_try: float = 0.0
    skipped: set[Act] = field(default_factory=set)


class TrialController:
    """Works through ``tools``, whose actions it closes. The ``book`` outlives it."""

    def __init__(self, book: TrialBook, tools: TrialTools) -> None:
        self._book = book
        self._journal = book.journal
        self._tools = tools
        self._opening = TrialOpening(book, tools)
        self._courses: dict[str, _Course] = {}

    @property
    def simulated(self) -> bool:
        """True where the containers are made up."""
        return self._tools.actions.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Carry trials out until cancelled; what is cut short is undone by the next run."""
        try:
            with heartbeat.working():
                await self.load()
            while True:
                if not self._journal.active:
                    await heartbeat.idle(self._book.inbox.arrived)
                with heartbeat.working():
                    async with self._beating(heartbeat):
                        moved = await self.step()
                if self._journal.active and not moved:
                    await self._tools.clock.sleep(POLL)
        finally:
            with anyio.CancelScope(shield=True):
                await self._tools.actions.aclose()

    async def load(self) -> None:
        """Take up what an earlier process, or an earlier run of the task, has left: that goes back."""
        name = self._journal.path.name
        try:
            await anyio.to_thread.run_sync(self._journal.load)
            self._book.problem = ""
            self._tools.publisher.file_works(name)
        except StateUnreadable as error:
            self._book.problem = str(error)
            self._tools.publisher.file_failed(name, str(error))
            return
        now = self._tools.clock.monotonic()
        for entry in self._journal.active:
            # A stop that was called for by then may be carried out yet.
            self._courses[entry.trial] = _Course(stop_called=now if entry.stopped else None)
            self._book.change(entry, progress="taken up again")

    async def step(self) -> bool:
        """Do the next thing of every trial; return whether anything was done."""
        self._book.take()
        await self._bar()
        for request in self._book.requests():
            if all(each.trial != request.trial for each in self._journal.active):
                entry = await self._opening.begin(request)
                if entry is not None:
                    self._courses[entry.trial] = _Course()
        moved = [await self._advance(entry) for entry in self._journal.active]
        return any(moved)

    @asynccontextmanager
    async def _beating(self, heartbeat: Heartbeat) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:

            async def beat() -> None:
                while True:
                    await self._tools.clock.sleep(_BEAT)
                    heartbeat.beat()

            group.start_soon(beat)
            yield
            group.cancel_scope.cancel()

    async def _bar(self) -> None:
        """Bar the trials whose containers an emergency has stopped."""
        for message in self._book.emergencies.take():
            for entry in self._journal.active:
                if entry.name in message.containers and not entry.barred:
                    await self._put(replace(entry, barred=True))
                    if entry.phase is not Phase.KEEPING:
                        self._tools.barred(entry, message)

    # Course

    async def _advance(self, entry: ImageTrial) -> bool:
        """Do the next act of one trial; return whether there was one."""
        course = self._courses.setdefault(entry.trial, _Course())
        wish = self._book.wish(entry.trial)
        act: Act | None = None
        try:
            seen = await see(self._tools.actions, entry)
            entry = _adopted(entry, seen)
            act, why = next_act(entry, seen.situation, wish)
            if act in course.skipped:
                act = Act.KEPT if act is Act.REMOVE_OLD else Act.RETURNED
            self._show(entry, seen, course)
            if act is Act.SERVES:
                self._book.change(entry, wish=wish, problem="")
                return False
            if act in ENDS:
                return await self._end(entry, act, seen, course)
            if act is Act.START_OLD and self._tools.clock.monotonic() < course.next_try:
                return False
            await self._do(act, why, entry, seen, course)
        except Unavailable as error:
            await self._failed(act, entry, course, error)
            return False
        return True

    async def _do(self, act: Act, why: str, entry: ImageTrial, seen: Seen, course: _Course) -> None:
        actions = self._tools.actions
        successors = self._tools.recreations.successors
        if act in (Act.RETURN, Act.KEEP):
            await self._turn(act, why, entry, seen)
            return
        if act is Act.CREATE_NEW or act is Act.CREATE_BESIDE:
            apart = act is Act.CREATE_BESIDE
            identity = await create(actions, entry, successors, apart=apart)
            made = replace(entry, beside=identity) if apart else replace(entry, new=identity, new_run="")
            await self._put(made)
            new = await actions.describe(identity)
            if seen.old is not None and new is not None:
                self._book.change(entry, differences=described_differences(seen.old, new))
            return
        if act in _ON_DISK_FIRST and not entry.stopped:
            if not await self._put(replace(entry, stopped=True)):
                await self._turn(Act.RETURN, f"{self._journal.path} can't be written", entry, seen)
                return
            entry = replace(entry, stopped=True)
        await self._call(act, entry, seen, course)

    async def _call(self, act: Act, entry: ImageTrial, seen: Seen, course: _Course) -> None:
        actions, clock, book = self._tools.actions, self._tools.clock, self._book
        if act is Act.STOP_OLD:
            book.change(entry, old_log=await log_of(actions, seen.old))
            course.stop_called = course.down_since = clock.monotonic()
        elif act in (Act.STOP_NEW, Act.STOP_BESIDE):
            log = await log_of(actions, seen.new if act is Act.STOP_NEW else seen.beside)
            book.change(entry, new=replace(book.state(entry).new, log=log))
            if act is Act.STOP_NEW:
                course.down_since = clock.monotonic()
        elif act is Act.START_OLD:
            course.starts += 1
            course.next_try = clock.monotonic() + min(_LONGEST_WAIT, 2.0 ** (course.starts - 1))
        await act_on(actions, act, entry, seen)
        if act is Act.STOP_OLD:
            course.stop_called = None
        elif act is Act.START_OLD:
            course.started = clock.monotonic()
        elif act in (Act.START_NEW, Act.START_BESIDE):
            found = await see(actions, entry)
            place = found.situation.new if act is Act.START_NEW else found.situation.beside
            await self._put(replace(entry, new_run=place.run if place else ""))
        elif act in (Act.STOP_NEW, Act.STOP_BESIDE):
            await self._put(replace(entry, new_run=""))
        elif act is Act.REMOVE_BESIDE:
            await self._put(replace(entry, beside="", new_run=""))

    async def _turn(self, act: Act, why: str, entry: ImageTrial, seen: Seen) -> None:
        """Enter the last phase, on disk first where it has to be."""
        if act is Act.KEEP:
            if await self._put(replace(entry, phase=Phase.KEEPING)):
                return
            why = f"{self._journal.path} can't be written"
        if why and seen.tried is not None:
            # What is removed has no log any more.
            log = await log_of(self._tools.actions, seen.tried)
            self._book.change(entry, new=tried(seen.tried, log))
        self._book.change(entry, disturbed=why)
        # What is on the disk already leads to the same, by the next process.
        await self._put(replace(entry, phase=Phase.RETURNING, reason=why or entry.reason))

    async def _failed(self, act: Act | None, entry: ImageTrial, course: _Course, error: Unavailable) -> None:
        """Note that the runtime did not do it; where there is another way, go that."""
        self._book.change(entry, problem=error.reason)
        current = self._entry(entry)
        if act is not None and isinstance(error, Refused):
            course.refusals[act] += 1
            if act in _FORWARD and current.phase is Phase.TRYING:
                await self._turn(Act.RETURN, error.reason, current, _NOTHING)
            elif act in _REMOVALS and course.refusals[act] >= _MOST_REFUSALS:
                course.skipped.add(act)
        if current.phase is not Phase.TRYING and not current.barred:
            state = self._book.state(current)
            if not state.serving:
                self._tools.publisher.not_returned(current, error.reason)

    async def _end(self, entry: ImageTrial, act: Act, seen: Seen, course: _Course) -> bool:
        """End a trial, once what has the place runs and goes on running; return whether it has ended."""
        now = self._tools.clock.monotonic()
        old = seen.situation.old
        if act is Act.RETURNED and old is not None and not entry.barred:
            if course.started is not None and now - course.started < self._tools.settle:
                return False
            late = course.stop_called
            if (
                late is not None
                and old.runs
                and old.run == entry.run
                and now - late < entry.grace + self._tools.late
            ):
                return False  # a stop of ours may be carried out yet
        problem = self._book.state(entry).problem if course.skipped else ""
        if act is Act.KEPT:
            with_successor = self._tools.recreations.succeeding(entry.old, entry.new)
            await anyio.to_thread.run_sync(_suppressing(with_successor), abandon_on_cancel=True)
        await anyio.to_thread.run_sync(_suppressing(self._journal.ending(entry)), abandon_on_cancel=True)
        self._book.change(entry, ended=_ENDED[act], problem=problem, progress="", wish=_WISHED.get(act))
        self._book.done(entry.trial)
        self._courses.pop(entry.trial, None)
        self._tools.publisher.ended(entry, act, problem)
        return True

    def _show(self, entry: ImageTrial, seen: Seen, course: _Course) -> None:
        """Have the view show what is there."""
        found, now, state = seen.situation, self._tools.clock.monotonic(), self._book.state(entry)
        old = found.old is not None and found.old.name == entry.name and found.old.runs
        new = found.new is not None and found.new.name == entry.name and found.new.runs
        if (old or new) and course.down_since is not None:
            seconds = state.stopped_seconds + now - course.down_since
            state, course.down_since = replace(state, stopped_seconds=round(seconds, 3)), None
        if not (old or new) and course.started is not None:
            course.started = None
            if entry.phase is Phase.RETURNING and not entry.barred:
                self._tools.publisher.not_returned(entry, "it was started, and ended again")
        shown = tried(seen.tried, state.new.log) if seen.tried is not None else state.new
        serving: Serving = "old" if old else "new" if new else ""
        self._book.put(replace(state, serving=serving, new=shown))

    def _entry(self, entry: ImageTrial) -> ImageTrial:
        return next((each for each in self._journal.active if each.trial == entry.trial), entry)

    async def _put(self, entry: ImageTrial) -> bool:
        return await self._book.store(entry)


_NOTHING: Final = Seen(Situation(None), None, None, None)
_WISHED: Final = {Act.KEPT: Wish.KEEP, Act.RETURNED: Wish.BACK}


def _adopted(entry: ImageTrial, seen: Seen) -> ImageTrial:
    """Return ``entry`` with the run of an old container that we had stopped and that runs again."""
    old = seen.situation.old
    if entry.stopped and old is not None and old.runs and entry.phase is Phase.TRYING and not entry.new_run:
        return replace(entry, run=old.run) if old.name == entry.name else entry
    return entry


def _suppressing(write: Callable[[], None]) -> Callable[[], None]:
    def quiet() -> None:
        try:
            write()
        except OSError:
            return  # to bring it to its end once more finds it there

    return quiet
