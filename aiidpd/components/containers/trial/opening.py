"""Beginning of a trial: its plan, the image fetched where it is not here, its entry on the disk."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio

from aiidpd.components.containers.recreate.faithful import Facts
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.settings import UpgradeSettings
from aiidpd.components.containers.trial.book import ImageActions, TrialBook
from aiidpd.components.containers.trial.events import TrialPublisher
from aiidpd.components.containers.trial.plan import Prepared, prepare
from aiidpd.components.containers.trial.state import ImageTrial, Phase
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.contracts.trials import ImageFacts, ImageTrialRequested, ImageTrialState, TrialPlan, Wish
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable

POLL: Final = 0.5  # seconds between two readings of what goes on
SETTLE: Final = 3.0  # seconds that an old container has to run before a trial is over
_REMEDY: Final = (
    "name it in a table of gate.toml with the act upgrade, and other repositories by images there"
)
LATE: Final = 5.0  # seconds beyond its grace in which a stop may yet be carried out


@dataclass(frozen=True, slots=True)
class TrialTools:
    """Everything that trials are carried out with, made for one run of the task.

    ``busy`` gives why a container may not be touched now; ``stop_grace`` how many seconds one has to end;
    ``barred`` is called for a container that an emergency keeps down.
    """

    actions: ImageActions
    recreations: RecreationJournal
    publisher: TrialPublisher
    clock: Clock
    settings: UpgradeSettings
    busy: Callable[[str], str]
    stop_grace: Callable[[str], float]
    barred: Callable[[ImageTrial, EmergencyStop], None]
    settle: float = SETTLE
    late: float = LATE


class TrialOpening:
    """Begins trials; what it finds out is in ``book``."""

    def __init__(self, book: TrialBook, tools: TrialTools) -> None:
        self._book = book
        self._tools = tools

    async def begin(self, request: ImageTrialRequested) -> ImageTrial | None:
        """Begin the trial that is wished; return its entry, None where there is nothing to begin.

        What is found out, and why it can't begin, is in the book.
        """
        known = self._book.known(request.trial)
        if known is not None and (known.ended or (known.plan is not None and known.plan.refusal)):
            self._book.done(request.trial)
            return None
        state = ImageTrialState(
            request.trial, request.container, request.image, simulated=self._tools.actions.simulated
        )
        if request.wish in (Wish.KEEP, Wish.BACK):
            self._book.put(replace(state, ended="returned", problem="there is no such trial"))
            self._book.done(request.trial)
            return None
        try:
            prepared = await self._prepare(request)
            if request.wish is Wish.PLAN or prepared.plan.refusal or prepared.facts is None:
                self._book.put(replace(state, plan=prepared.plan, wish=Wish.PLAN))
                self._book.done(request.trial)
                return None
            self._book.put(replace(state, progress="the image is looked for"))
            new = prepared.new_image or await self._pull(request, state)
            return await self._enter(request, prepared, prepared.facts, str(new["Id"]))
        except Unavailable as error:
            plan = self._empty(request).plan
            plan = replace(plan, refusal=error.reason, remedy=error.remedy)
            self._book.put(replace(state, plan=plan, wish=Wish.PLAN))
            self._book.done(request.trial)
            return None

    async def _prepare(self, request: ImageTrialRequested) -> Prepared:
        if self._book.problem:
            found = self._empty(request)
            plan = replace(found.plan, refusal=self._book.problem, remedy="see `aiidpctl status`")
            return replace(found, plan=plan)
        tools = self._tools
        prepared = await prepare(
            tools.actions,
            request.container,
            request.image,
            settings=tools.settings,
            busy=self._busy,
            stop_grace=tools.stop_grace(request.container),
            successors=tools.recreations.successors,
        )
        if prepared.plan.refusal:
            return prepared
        reason = await tools.actions.image_refusal(request.container, request.image)
        plan = replace(prepared.plan, refusal=reason, remedy=_REMEDY if reason else "")
        return replace(prepared, plan=plan)

    def _empty(self, request: ImageTrialRequested) -> Prepared:
        return Prepared(TrialPlan(ImageFacts(""), ImageFacts(request.image[:200])))

    def _busy(self, name: str) -> str:
        others = [each.name for each in self._book.journal.active]
        if others:
            return f"another image is tried in the place of {others[0]} already"
        return self._tools.busy(name)

    async def _pull(self, request: ImageTrialRequested, state: ImageTrialState) -> Mapping[str, Any]:
        """Return the description of the image, once it is here. Raises ``Unavailable``."""
        found: Mapping[str, Any] | Unavailable | None = None
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while self._book.wish(request.trial) not in (Wish.BACK, Wish.PLAN):
                    await self._tools.clock.sleep(POLL)
                group.cancel_scope.cancel()

            group.start_soon(watch)
            try:
                found = await self._tools.actions.pull(
                    request.image,
                    lambda words: self._book.put(replace(state, progress=f"pulling: {words}")),
                    container=request.container,
                    within=self._tools.settings.pull_timeout,
                )
            except Unavailable as error:
                found = error
            group.cancel_scope.cancel()
        if isinstance(found, Unavailable):
            raise found
        if found is None:
            reason = "there is no such image, or nobody waits for it any more"
            raise Unavailable("try", request.image[:200], reason=reason)
        return found

    async def _enter(
        self, request: ImageTrialRequested, prepared: Prepared, facts: Facts, image: str
    ) -> ImageTrial | None:
        plan = prepared.plan
        plan = replace(plan, new_image=replace(plan.new_image, id=image), same=image == plan.old_image.id)
        state = ImageTrialState(
            request.trial, request.container, request.image, simulated=self._tools.actions.simulated
        )
        entry = ImageTrial(
            trial=request.trial,
            name=facts.name,
            old=str(facts.container["Id"]),
            old_image=str(facts.container["Image"]),
            image=request.image,
            new_image=image,
            token=secrets.token_hex(4),
            phase=Phase.TRYING,
            grace=plan.stop_grace,
            at=round(self._tools.clock.time(), 3),
            run=str(facts.container["State"].get("StartedAt") or ""),
        )
        if plan.same:
            refusal = "both names lead to the same image: there is nothing to try"
            self._book.put(replace(state, plan=replace(plan, refusal=refusal), wish=Wish.PLAN))
        elif await self._book.store(entry):
            self._book.put(replace(state, plan=plan, serving="old", old_id=entry.old))
            self._tools.publisher.began(entry)
            return entry
        else:
            self._book.journal.ending(entry)
            words = f"{self._book.journal.path} can't be written"
            remedy = "free space or repair the disk"
            self._book.put(replace(state, plan=replace(plan, refusal=words, remedy=remedy), wish=Wish.PLAN))
        self._book.done(request.trial)
        return None
