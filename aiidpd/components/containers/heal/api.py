"""Heals over the API: policies and states, a heal by hand, parked containers, suspended healing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final, Literal

import anyio

from aiidpd.api.access import Access
from aiidpd.api.document import Request, bounded
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.containers.heal import progress
from aiidpd.components.containers.heal.book import MOST_WAITING, HealBook, PersonsHeal
from aiidpd.components.containers.heal.budget import left
from aiidpd.components.containers.heal.dependencies import dependants
from aiidpd.components.containers.heal.events import RESUMED, SUSPENDED
from aiidpd.components.containers.heal.policy import HealPolicy
from aiidpd.components.containers.heal.state import (
    Action,
    Decision,
    Observed,
    Report,
    Suspension,
    Topic,
    Track,
)
from aiidpd.components.containers.names import near
from aiidpd.contracts.messages import Cure
from aiidpd.kernel.errors import Conflict, NotFound, Unavailable
from aiidpd.kernel.jobs import JobBook
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.words import lasting

KIND: Final = "heal"
LONGEST_SUSPENSION: Final = 365 * 86_400.0
_CONSIDERED: Final = 2.0  # seconds within which a change is considered
Name = Annotated[str, bounded(max_length=300)]
CureName = Literal["restart", "recreate"]


@dataclass(frozen=True, slots=True)
class HealRequest(Request):
    """Heal by hand of the container with this name."""

    container: Name
    cure: CureName = "restart"


@dataclass(frozen=True, slots=True)
class PlanQuery(Request):
    """Act to plan, on the container with this name."""

    container: Name
    cure: CureName = "restart"


@dataclass(frozen=True, slots=True)
class ContainerRequest(Request):
    """Container, by its name."""

    container: Name


@dataclass(frozen=True, slots=True)
class SuspendRequest(Request):
    """Container that is not to be healed by itself."""

    container: Name
    seconds: Annotated[float | None, bounded(gt=0, le=LONGEST_SUSPENSION)] = None
    """Time after which it is healed again; null: when that is requested."""


@dataclass(frozen=True, slots=True)
class HealPolicyDocument:
    """Policy of a container. Durations in seconds."""

    mode: Literal["restart", "recreate", "notify", "off"]
    origin: str
    """Label, rule or default that decides the mode."""
    budget: int
    """Heals and ends that it may have within the window."""
    window: float
    grace: float
    drain: float
    stop_grace: float
    depends_on: tuple[str, ...]
    follow_restarts: bool
    quiet_hours: str
    """Hours of the local day, empty where there are none."""
    problems: tuple[str, ...]
    """Labels that can't be understood, and why."""


@dataclass(frozen=True, slots=True)
class LastHealDocument:
    """Last heal of a container that has ended."""

    fault: str
    cure: CureName
    outcome: str
    reason: str
    at: float
    seconds: float
    incident: str


@dataclass(frozen=True, slots=True)
class HealingDocument:
    """Healing of one container."""

    id: str
    name: str
    decision: Literal["nothing", "wait", "notify", "heal", "healing", "parked"]
    reason: str
    fault: str
    until: float | None
    """Time (Unix seconds) at which the decision may change by itself."""
    budget_left: int
    parked_since: float | None
    remedy: str
    """Way out for one that is parked."""
    suspended_until: float | None
    """Time (Unix seconds) at which its healing is resumed; null also where nobody has set one."""
    suspended_by: str
    policy: HealPolicyDocument
    last: LastHealDocument | None


@dataclass(frozen=True, slots=True)
class HealingsDocument:
    """Healing of every container."""

    reason: str
    """Why nothing is healed now; empty where all is well."""
    dry_run: bool
    containers: tuple[HealingDocument, ...]


@dataclass(frozen=True, slots=True)
class HealPlanDocument:
    """Plan of a heal: nothing was touched."""

    name: str
    cure: CureName
    decision: str
    """Decision of the policy, without a person's request."""
    reason: str
    refusal: str
    """Why the container can't be created anew; empty where it can, or is restarted only."""
    remedy: str
    drain: float
    stop_grace: float
    dependants: tuple[str, ...]
    """Containers that need it, in the order of their start."""
    restarted: tuple[str, ...]
    """Those of them that would be restarted after it."""


class HealApi:
    """Answers about heals, and takes the requests of persons into ``book``."""

    def __init__(
        self,
        book: HealBook,
        jobs: JobBook,
        publish: Publisher,
        *,
        dry_run: Callable[[], bool],
        inactive: Callable[[], str],
    ) -> None:
        self._book = book
        self._jobs = jobs
        self._publisher = publish
        self._dry_run = dry_run
        self._inactive = inactive

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the heals."""
        return (
            Route(
                "GET", "/v1/healing", Access.READ, self._list, "Healing of every container.", HealingsDocument
            ),
            Route(
                "GET",
                "/v1/healing/plan",
                Access.READ,
                self._plan,
                "What a heal by hand would do; nothing is touched.",
                HealPlanDocument,
                query=PlanQuery,
            ),
            Route(
                "POST",
                "/v1/healing/heals",
                Access.CHANGE,
                self._heal,
                "Heal a container now, whatever its policy.",
                JobDocument,
                body=HealRequest,
                status=HTTPStatus.ACCEPTED,
            ),
            Route(
                "POST",
                "/v1/healing/unpark",
                Access.CHANGE,
                self._unpark,
                "Give a container a new budget, and heal it again.",
                HealingDocument,
                body=ContainerRequest,
            ),
            Route(
                "POST",
                "/v1/healing/suspend",
                Access.CHANGE,
                self._suspend,
                "Take a container out of healing; it is not touched.",
                HealingDocument,
                body=SuspendRequest,
            ),
            Route(
                "POST",
                "/v1/healing/resume",
                Access.CHANGE,
                self._resume,
                "Heal a container again.",
                HealingDocument,
                body=ContainerRequest,
            ),
        )

    async def _list(self, _call: Call) -> Answer:
        observed = self._book.observed if self._book.active else None
        if observed is None:
            return HealingsDocument(self._reason(), self._dry_run(), ())
        rows = [self._document(*each) for each in self._known(observed)]
        return HealingsDocument("", self._dry_run(), tuple(sorted(rows, key=lambda each: each.name)))

    async def _plan(self, call: Call) -> Answer:
        observed, track, policy = self._find(call.query.container, "plan the heal of container")
        cure = Cure(call.query.cure)
        recreator = self._book.recreator
        refusal = None if cure is Cure.RESTART or recreator is None else await recreator.check(track.id)
        tracks = self._book.state.tracks
        after = [each for each in dependants(track.id, observed.relations.needs) if each in tracks]
        restarted = [
            tracks[each].name
            for each in after
            if observed.policies[each].mode.acts
            and (observed.policies[each].follow_restarts or observed.relations.network.get(each) == track.id)
        ]
        decision = self._decision(track)
        return HealPlanDocument(
            track.name,
            cure.value,
            decision.action.value,
            decision.reason,
            "" if refusal is None else refusal.reason,
            "" if refusal is None else refusal.remedy,
            policy.drain,
            policy.stop_grace,
            tuple(tracks[each].name for each in after),
            tuple(restarted),
        )

    async def _heal(self, call: Call) -> Answer:
        _, track, _ = self._find(call.body.container, "heal container")
        if track.heal is not None or track.name in self._book.persons:
            raise Conflict(
                "heal container",
                track.name,
                reason="it is being healed already",
                remedy="wait for that: `aiidpctl containers healing`",
            )
        if len(self._book.wanted) >= MOST_WAITING:
            raise Conflict("heal container", track.name, reason=f"{MOST_WAITING} such requests wait already")
        job = self._jobs.open(KIND, {"container": track.name, "requested_by": call.by})
        self._book.wanted.append(PersonsHeal(track.name, Cure(call.body.cure), call.by or "somebody", job))
        self._book.wake()
        return job_document(job.status)

    async def _unpark(self, call: Call) -> Answer:
        _, track, _ = self._find(call.body.container, "unpark container")
        if track.parked is None:
            raise Conflict(
                "unpark container",
                track.name,
                reason="it is not parked",
                remedy="`aiidpctl containers healing` shows which are",
            )
        effects = self._book.update(progress.unpark, track.id, call.by or "somebody")
        for effect in effects:
            if isinstance(effect, Report) and effect.topic is Topic.HEAL_UNPARKED:
                self._publisher.event(effect.topic.value, effect.reason, about=effect.name, by=call.by)
        return await self._shown(track.name)

    async def _suspend(self, call: Call) -> Answer:
        _, track, _ = self._find(call.body.container, "suspend the healing of container")
        now, seconds, by = self._book.now, call.body.seconds, call.by or "somebody"
        until = None if seconds is None else now + seconds
        self._book.put(progress.suspend, Suspension(track.name, now, until, by))
        span = "until it is resumed" if seconds is None else f"for {lasting(seconds)}"
        self._publisher.event(SUSPENDED, f"{by} has suspended its healing {span}", about=track.name, by=by)
        return await self._shown(track.name)

    async def _resume(self, call: Call) -> Answer:
        _, track, _ = self._find(call.body.container, "resume the healing of container")
        if track.name in self._book.state.suspended:
            by = call.by or "somebody"
            self._book.put(progress.resume, track.name)
            self._publisher.event(RESUMED, f"{by} has resumed its healing", about=track.name, by=by)
        return await self._shown(track.name)

    # Documents

    def _reason(self) -> str:
        return self._inactive() or "the containers have not been read yet"

    def _known(self, observed: Observed) -> list[tuple[Track, HealPolicy]]:
        tracks = self._book.state.tracks.values()
        return [(each, observed.policies[each.id]) for each in tracks if each.id in observed.policies]

    def _find(self, name: str, action: str) -> tuple[Observed, Track, HealPolicy]:
        """Return what is known of the container ``name``; raises NotFound, with names that are near."""
        observed = self._book.observed if self._book.active else None
        if observed is None:
            raise Unavailable(action, name, reason=self._reason(), remedy="see `aiidpctl status`")
        known = {track.name: (track, policy) for track, policy in self._known(observed)}
        if name not in known:
            meant_perhaps = near(name, known) or sorted(known)[:3]
            remedy = f"is it {' or '.join(meant_perhaps)}?" if known else "there are no containers"
            raise NotFound(action, name[:200], reason="there is no container of this name", remedy=remedy)
        return (observed, *known[name])

    async def _shown(self, name: str) -> HealingDocument:
        """Return the document of a container once a change of its state was considered."""
        with anyio.move_on_after(_CONSIDERED):
            await self._book.decided.wait()
        _, track, policy = self._find(name, "show container")
        return self._document(track, policy)

    def _decision(self, track: Track) -> Decision:
        known = (each for each in self._book.decisions if each.id == track.id)
        return next(known, Decision(track.id, track.name, Action.NOTHING))

    def _document(self, track: Track, policy: HealPolicy) -> HealingDocument:
        decision = self._decision(track)
        suspension, last = self._book.state.suspended.get(track.name), track.last
        return HealingDocument(
            track.id,
            track.name,
            decision.action.value,
            decision.reason,
            decision.fault,
            decision.until,
            left(policy.budget, track.heals, track.deaths, self._book.now),
            None if track.parked is None else track.parked.since,
            "" if track.parked is None else track.parked.remedy,
            None if suspension is None else suspension.until,
            "" if suspension is None else suspension.by,
            policy_document(policy),
            None
            if last is None
            else LastHealDocument(
                last.fault,
                last.cure.value,
                last.outcome.value,
                last.reason,
                last.at,
                last.seconds,
                last.incident,
            ),
        )


def policy_document(policy: HealPolicy) -> HealPolicyDocument:
    """Return the document of ``policy``."""
    return HealPolicyDocument(
        policy.mode.value,
        policy.origin,
        policy.budget.often,
        policy.budget.window,
        policy.grace,
        policy.drain,
        policy.stop_grace,
        policy.depends_on,
        policy.follow_restarts,
        "" if policy.quiet_hours is None else str(policy.quiet_hours),
        tuple(f"{each.label}: {each.reason}" for each in policy.problems),
    )
