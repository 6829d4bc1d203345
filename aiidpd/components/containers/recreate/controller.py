"""Creates a container anew: a copy is made and proven beside it, and takes its place only then.

The copy is created under a name of its own and compared with the old container while that one runs on. Then
the old one is stopped and renamed, the copy gets the name and starts (what holds a GPU's memory has ended by
then), and once it has been running for some seconds the old one is removed. Where compose made the container
and its files are the same, compose does it.

Each step is in the journal before it is taken, and :meth:`ContainerRecreator.recover` finishes or undoes what
an earlier process has left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import anyio
import anyio.to_thread

from aiidpd.components.containers.actions import ContainerActions, Refused
from aiidpd.components.containers.heal.protocols import NotRecreated, Recovered, Recreated
from aiidpd.components.containers.recreate.compare import differences, in_words
from aiidpd.components.containers.recreate.compose import Compose
from aiidpd.components.containers.recreate.decide import Act
from aiidpd.components.containers.recreate.described import WAY_LABEL, labels, name_of, runs
from aiidpd.components.containers.recreate.driver import Driver, Outcome
from aiidpd.components.containers.recreate.faithful import Facts, refusal, refusal_of_copy
from aiidpd.components.containers.recreate.gather import gather
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.recreate.plan import Plan, make_plan
from aiidpd.components.containers.recreate.project import ComposeService, find_service
from aiidpd.components.containers.recreate.state import Phase, Recreation, is_temporary
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable, describe
from aiidpd.platform.statefile import StateUnreadable

_SETTLE: Final = 3.0  # seconds that a copy has to run before the old one is removed
_LATE: Final = 5.0  # seconds in which the engine may yet create what an earlier process has called for
_CLOSING: Final = 3.0  # seconds that a cancelled re-creation has to bring the container back
_LOOK_AGAIN: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Prepared:
    facts: Facts
    plan: Plan
    service: ComposeService | None
    note: str = ""


class ContainerRecreator:
    """Works through ``actions`` of its own, which it closes. What is under way is in ``journal``."""

    def __init__(
        self,
        actions: ContainerActions,
        journal: RecreationJournal,
        *,
        compose: Compose | None,
        clock: Clock,
        settle: float = _SETTLE,
        late: float = _LATE,
        closing: float = _CLOSING,
    ) -> None:
        self._actions = actions
        self._journal = journal
        self._compose = compose
        self._clock = clock
        self._late = late
        self._closing = closing
        self._driver = Driver(actions, journal, clock, settle=settle)
        self._busy: set[str] = set()

    @property
    def pending(self) -> bool:
        """True while something is left for :meth:`recover`."""
        return bool(self._left())

    async def check(self, identity: str) -> NotRecreated | None:
        """Return why a container can't be created anew, None where it can; changes nothing."""
        prepared = await self._prepare(identity)
        return prepared if isinstance(prepared, NotRecreated) else None

    async def recreate(self, identity: str, *, grace: float) -> Recreated | NotRecreated:
        """Create a container anew; the old one ends within ``grace`` seconds, or is killed.

        Raises ``Unavailable``: where anything was begun, :meth:`recover` ends it.
        """
        for left in self._left():
            if left.old == identity:
                await self._recover_later(left)
        prepared = await self._prepare(identity)
        if isinstance(prepared, NotRecreated):
            return prepared
        container = prepared.facts.container
        state = container["State"]
        entry = Recreation(
            old=str(container["Id"]),
            name=prepared.facts.name,
            token=secrets.token_hex(4),
            phase=Phase.COMPOSING if prepared.service else Phase.CREATING,
            ran=runs(container),
            grace=grace,
            at=round(self._clock.time(), 3),
            run=str(state.get("StartedAt") or ""),
            selectors=prepared.service.selectors if prepared.service else (),
        )
        self._busy.add(entry.old)
        try:
            return await self._begin(entry, prepared)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), anyio.move_on_after(self._closing):
                await self._close(entry.old)
            raise
        finally:
            self._busy.discard(entry.old)

    async def recover(self, *, stops: bool = True) -> tuple[Recovered, ...]:
        """Finish or undo whatever is left unfinished; return what became of it.

        Not ``stops``: where an old container runs yet, that is left for later. Raises ``StateUnreadable``.
        """
        await self._load()
        return tuple([await self._recover_later(entry, stops=stops) for entry in self._left()])

    def _left(self) -> tuple[Recreation, ...]:
        return tuple(entry for entry in self._journal.active if entry.old not in self._busy)

    async def _recover_later(self, entry: Recreation, *, stops: bool = True) -> Recovered:
        self._busy.add(entry.old)
        try:
            return await self._recover(entry, stops=stops)
        except Unavailable as error:
            return Recovered(entry.name, entry.old, recreated=False, problem=describe(error), pending=True)
        finally:
            self._busy.discard(entry.old)

    async def aclose(self) -> None:
        """Release what it holds; may be called twice."""
        await self._actions.aclose()

    async def _prepare(self, identity: str) -> _Prepared | NotRecreated:
        try:
            await self._load()
        except StateUnreadable as error:
            return NotRecreated(str(error), error.remedy)
        facts = await gather(self._actions, identity, self._journal.successors)
        if facts is None:
            return NotRecreated("it does not exist any more")
        if is_temporary(facts.name) or str(facts.container["Id"]) in {e.old for e in self._journal.active}:
            return NotRecreated("it is being created anew already")
        return refusal(facts) or await self._choose(facts)

    async def _choose(self, facts: Facts) -> _Prepared | NotRecreated:
        """Return the way in which the container is created anew, or why there is none."""
        said = labels(facts.container).get(WAY_LABEL, "")
        service, problem = find_service(facts.container) if said != "inspect" else (None, "")
        if service is not None:
            problem = await self._compose_problem(service, facts)
        by_compose = service is not None and not problem
        if said == "compose" and not by_compose:
            return NotRecreated(
                f"compose can't create it anew: {problem or 'it was not made by compose'}",
                f"mend that, or set the label {WAY_LABEL}=inspect",
            )
        refused = None if by_compose else refusal_of_copy(facts)
        if refused is not None:
            return replace(
                refused, reason=refused.reason + (f"; not by compose: {problem}" if problem else "")
            )
        plan = make_plan(
            facts.container,
            image=facts.image_text,
            entrypoint=((facts.image or {}).get("Config") or {}).get("Entrypoint"),
            successors=self._journal.successors,
        )
        return _Prepared(
            facts, plan, service if by_compose else None, problem and f"not by compose: {problem}"
        )

    async def _compose_problem(self, service: ComposeService, facts: Facts) -> str:
        if self._compose is None:
            return "compose is not used here"
        if not runs(facts.container):
            return "it does not run, and compose would start it"
        return await self._compose.problem(service, facts, self._actions)

    async def _begin(self, entry: Recreation, prepared: _Prepared) -> Recreated | NotRecreated:
        if not await self._put(entry):
            path = self._journal.path
            return NotRecreated(f"{path} can't be written", "free space or repair the disk")
        if prepared.service is not None:
            return await self._by_compose(entry, prepared, prepared.service)
        entry, refused = await self._copy(entry, prepared)
        if refused is not None:
            await self._finish(entry)
            return refused
        swapping = replace(entry, phase=Phase.SWAPPING)
        if not await self._put(swapping):
            self._journal.saving(entry)
            await self._finish(entry)
            return NotRecreated(f"{self._journal.path} can't be written", "free space or repair the disk")
        return self._answer(await self._finish(swapping), "inspect", prepared.note)

    async def _copy(self, entry: Recreation, prepared: _Prepared) -> tuple[Recreation, NotRecreated | None]:
        """Create the copy and compare it; return the entry that knows of it, and why it is of no use."""
        plan = prepared.plan
        try:
            entry = replace(entry, new=await self._actions.create(entry.new_name, plan.body))
            await self._put(entry)
            if plan.disconnect:
                await self._actions.disconnect(plan.disconnect, entry.new)
            for connection in plan.connections:
                await self._actions.connect(connection.network, entry.new, connection.endpoint)
        except Refused as error:
            return entry, NotRecreated(f"a copy of it can't be made: {error.reason}", error.remedy)
        # Somebody may have changed it meanwhile: the copy is to be as it is now.
        old, new = await self._actions.describe(entry.old), await self._actions.describe(entry.new)
        if old is None or new is None:
            return entry, NotRecreated("it was removed meanwhile")
        if name_of(old) != entry.name:
            return entry, NotRecreated("it was renamed meanwhile")
        found = differences(old, new, plan)
        if found:
            return entry, NotRecreated(
                f"a copy of it would differ in {in_words(found)}", "recreate it by hand, by what has made it"
            )
        return entry, None

    async def _by_compose(
        self, entry: Recreation, prepared: _Prepared, service: ComposeService
    ) -> Recreated | NotRecreated:
        if self._compose is None:
            raise Unavailable("recreate", f"container {entry.name}", reason="compose is not used here")
        done = await self._compose.up(service, entry.grace, entry.token)
        outcome = await self._finish(await self._found_by_compose(entry))
        words = "" if done.code == 0 else f"compose: {done.words}"
        if outcome is not None and outcome.act is not Act.RECREATED and words:
            outcome = replace(outcome, problem=words)
        note = await self._changed(outcome, prepared)
        return self._answer(outcome, "compose", note)

    async def _changed(self, outcome: Outcome | None, prepared: _Prepared) -> str:
        """Return a note of what compose has made in another way than the old one was."""
        new = await self._actions.describe(outcome.identity) if outcome else None
        if new is None or str(new["Id"]) == str(prepared.facts.container["Id"]):
            return ""
        found = differences(prepared.facts.container, new, prepared.plan, loosely=True)
        return f"compose has changed {in_words(found)}" if found else ""

    async def _found_by_compose(self, entry: Recreation) -> Recreation:
        """Return ``entry`` with the id of the container that compose has made, if it has."""
        for summary in await self._actions.labelled(entry.selectors) if entry.selectors else ():
            names = {str(name).removeprefix("/") for name in summary.get("Names") or ()}
            if str(summary["Id"]) != entry.old and names & {entry.name, entry.composes_name}:
                entry = replace(entry, new=str(summary["Id"]))
                await self._put(entry)
                break
        return entry

    async def _close(self, identity: str) -> None:
        """Bring back what a cancelled re-creation has taken away, as far as the time is enough."""
        for entry in self._journal.active:
            if entry.old == identity:
                try:
                    await self._recover(entry, watch=False)
                except Unavailable:
                    return  # it is in the journal

    async def _recover(self, entry: Recreation, *, watch: bool = True, stops: bool = True) -> Recovered:
        if entry.phase is Phase.COMPOSING:
            if self._compose is not None:
                await self._compose.end_left_over(entry.token)
            await self._clock.sleep(self._late)
            entry = await self._found_by_compose(entry)
        elif not entry.new:
            entry = await self._found_late(entry)
        outcome = await self._finish(entry, watch=watch, stops=stops)
        if outcome is None and not stops:
            problem = "the old one runs, and is not stopped now"
            return Recovered(entry.name, entry.old, recreated=False, problem=problem, pending=True)
        if outcome is None:
            return Recovered(entry.name, entry.new, recreated=True)
        problem = outcome.problem
        if outcome.act is Act.REPLACED:
            problem = "another container has its name by now, and was left alone"
        elif outcome.act is Act.GONE:
            problem = "somebody has removed it"
        return Recovered(entry.name, outcome.identity, outcome.identity != entry.old, problem)

    async def _found_late(self, entry: Recreation) -> Recreation:
        """Return ``entry`` with the id of a copy whose creation nobody has waited for."""
        deadline = self._clock.monotonic() + self._late
        while True:
            found = await self._actions.describe(entry.new_name)
            if found is not None and name_of(found) == entry.new_name:
                return replace(entry, new=str(found["Id"]))
            if self._clock.monotonic() >= deadline:
                return entry
            await self._clock.sleep(_LOOK_AGAIN)

    async def _finish(self, entry: Recreation, *, watch: bool = True, stops: bool = True) -> Outcome | None:
        """Drive ``entry`` to its end, and take it out of the journal; None where that is left for later."""
        outcome = await self._driver.run(entry, watch=watch, stops=stops)
        if outcome is None or outcome.act is Act.REMOVE_OLD:
            return outcome  # it is tried again
        new = outcome.identity if outcome.act is Act.RECREATED else ""
        with suppress(OSError):  # to recover it once more finds it at its end
            await _in_thread(self._journal.ending(entry, new))
        return outcome

    def _answer(self, outcome: Outcome | None, way: str, note: str) -> Recreated | NotRecreated:
        if outcome is None:
            return NotRecreated("it was interrupted")
        if outcome.act in (Act.RECREATED, Act.REMOVE_OLD):
            notes = "; ".join(each for each in (note, outcome.problem) if each)
            return Recreated(outcome.identity, way, notes)
        if outcome.act is Act.REPLACED:
            return NotRecreated("another container has taken its name meanwhile, and was left alone")
        if outcome.act is Act.GONE:
            return NotRecreated("somebody has removed it meanwhile")
        return NotRecreated(f"{outcome.problem or 'it was changed meanwhile'}; the old one is back")

    async def _load(self) -> None:
        await anyio.to_thread.run_sync(self._journal.load)

    async def _put(self, entry: Recreation) -> bool:
        """Have the journal hold ``entry``; return whether it is on the disk."""
        try:
            await _in_thread(self._journal.saving(entry))
        except OSError:
            return False
        return True


async def _in_thread(write: Callable[[], None]) -> None:
    await anyio.to_thread.run_sync(write, abandon_on_cancel=True)
