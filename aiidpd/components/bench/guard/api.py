"""Upgrades under guard over the API."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

import anyio.to_thread

from aiidpd.api.access import Access
from aiidpd.api.document import Request, bounded
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.bench.accept.profile_text import ProfileError, parse_profile
from aiidpd.components.bench.accept.runner import SHIPPED
from aiidpd.components.bench.compare.periods import FEWEST
from aiidpd.components.bench.compare.plan import MOST_PAIRS
from aiidpd.components.bench.guard.document import ImageRecord, Upgrade
from aiidpd.components.bench.guard.guard import Guard, image_record
from aiidpd.components.bench.guard.options import AGREE, PAIRS, SLOWER, Options
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.jobs import JobQueue

_Name = Annotated[str, bounded(max_length=300)]


@dataclass(frozen=True, slots=True)
class UpgradeRequest(Request):
    """Upgrade of a container to another image, kept only where every criterion is met. Times in seconds."""

    container: _Name
    image: _Name
    pairs: Annotated[int, bounded(ge=FEWEST, le=MOST_PAIRS)] = PAIRS
    """Measurements of each side."""
    slower: Annotated[float, bounded(gt=0, le=10)] = SLOWER
    """Share by which no figure may be slower."""
    agree: Annotated[float, bounded(ge=0, le=1)] = AGREE
    """Share of the answers that must be the same; 0: they are not compared."""
    swap_back: Annotated[int, bounded(ge=0, le=10)] = 0
    """Times that the old one is measured again in between, where both can't run at once."""
    beside: bool | None = None
    """True: both run at once; null: where the GPUs have room."""
    endpoint: Annotated[str, bounded(max_length=200)] = ""
    """Endpoint that is the engine, where that is not known by its container."""
    profile: Annotated[str, bounded(max_length=256 * 1024)] = "default"
    """Acceptance profile that is shipped, or the text of another."""
    ready: Annotated[float, bounded(ge=1, le=86_400)] = 600.0
    """Longest that the new one may take until it answers."""
    settle: Annotated[float, bounded(ge=0, le=86_400)] = 60.0
    """For how long it has to stay well before it is measured."""
    drain: Annotated[float, bounded(ge=0, le=86_400)] = 300.0
    """Longest that it is waited for that nobody is served."""
    minutes: Annotated[float, bounded(gt=0, le=1440)] = 60.0
    """Longest that the measurements may take."""
    seed: Annotated[int | None, bounded(ge=0, le=2**31 - 1)] = None
    """Seed of the requests; without it, a new one."""


@dataclass(frozen=True, slots=True)
class UpgradePlanQuery(Request):
    """Upgrade to plan."""

    container: _Name
    image: _Name
    endpoint: Annotated[str, bounded(max_length=200)] = ""
    beside: bool | None = None


@dataclass(frozen=True, slots=True)
class UpgradePlanDocument:
    """Plan of an upgrade; nothing was touched."""

    container: str
    refusal: str
    """Why it can't be tried; empty where it can."""
    remedy: str
    old_image: ImageRecord
    new_image: ImageRecord
    present: bool
    """True where the new image is on this machine; else it is pulled."""
    beside: bool
    """True where both would run at once."""
    mode_reason: str
    engine: str
    url: str
    model: str
    stop_grace: float
    """Seconds that a container has to end, before it is killed."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpgradeSummary:
    """One upgrade of the list."""

    id: str
    container: str
    began_at: float
    old_image: str
    new_image: str
    mode: str
    stage: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpgradesDocument:
    """Upgrades under guard, the newest last."""

    upgrades: tuple[UpgradeSummary, ...]
    problems: tuple[str, ...]
    """Reasons why others can't be read."""


@dataclass(frozen=True, slots=True)
class CancelUpgradeRequest(Request):
    """Cancellation of the upgrade that goes on; there is never more than one."""


@dataclass(frozen=True, slots=True)
class UpgradeCancelledDocument:
    """Cancellation of the upgrade that goes on: the old engine is put back."""

    cancelled: bool


def routes(guard: Guard, queue: JobQueue) -> tuple[Route, ...]:
    """Return the routes of upgrades."""

    async def plan(call: Call) -> Answer:
        asked: UpgradePlanQuery = call.query
        found = await guard.planned(
            Options(asked.container, asked.image, endpoint=asked.endpoint, beside=asked.beside)
        )
        side = found.side
        return UpgradePlanDocument(
            asked.container,
            found.refusal,
            found.remedy,
            image_record(found.plan.old_image),
            image_record(found.plan.new_image),
            bool(found.plan.new_image.id),
            found.beside,
            found.room.reason,
            side.name if side else "",
            side.url if side else "",
            side.model if side else "",
            found.plan.stop_grace,
            found.plan.notes,
        )

    async def upgrade(call: Call) -> Answer:
        given: UpgradeRequest = call.body
        if given.profile not in SHIPPED:
            try:
                parse_profile(given.profile)
            except ProfileError as error:
                raise Invalid("use", "the acceptance profile", reason=str(error)) from None
        options = Options(**{name: getattr(given, name) for name in Options.names()})
        return job_document(guard.submit(queue, options, call.by or "").status)

    async def upgrades(_call: Call) -> Answer:
        found, problems = await anyio.to_thread.run_sync(guard.store.all)
        return UpgradesDocument(tuple(map(_summary, found)), tuple(problems))

    async def one(call: Call) -> Answer:
        return await anyio.to_thread.run_sync(guard.store.load, call.path["id"])

    async def cancel(_call: Call) -> Answer:
        if not guard.control.cancel():
            raise NotFound("cancel", "the upgrade", reason="none goes on")
        return UpgradeCancelledDocument(cancelled=True)

    change, read, path = Access.CHANGE, Access.READ, "/v1/bench/upgrades"
    return (
        Route(
            "GET",
            "/v1/bench/plan",
            read,
            plan,
            "What an upgrade under guard would do; nothing is touched.",
            UpgradePlanDocument,
            query=UpgradePlanQuery,
        ),
        Route(
            "POST",
            path,
            change,
            upgrade,
            "Try another image in the place of a container; it is kept only where every criterion is met.",
            JobDocument,
            body=UpgradeRequest,
            status=HTTPStatus.ACCEPTED,
        ),
        Route("GET", path, read, upgrades, "The upgrades under guard there were.", UpgradesDocument),
        Route("GET", f"{path}/{{id}}", read, one, "One upgrade, with its evidence.", Upgrade),
        Route(
            "POST",
            f"{path}/cancel",
            change,
            cancel,
            "Cancel the upgrade that goes on: the old engine is put back.",
            UpgradeCancelledDocument,
            body=CancelUpgradeRequest,
        ),
    )


def _summary(upgrade: Upgrade) -> UpgradeSummary:
    return UpgradeSummary(
        upgrade.id,
        upgrade.container,
        upgrade.began_at,
        upgrade.old_image.reference,
        upgrade.new_image.reference,
        upgrade.mode,
        upgrade.stage,
        upgrade.outcome,
        upgrade.reason,
    )
