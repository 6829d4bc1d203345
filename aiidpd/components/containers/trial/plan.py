"""Plan of a trial: reads all that is to be known of a container and of both images; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.heal.protocols import NotRecreated
from aiidpd.components.containers.recreate.described import labels, runs
from aiidpd.components.containers.recreate.faithful import Facts, refusal, refusal_of_copy
from aiidpd.components.containers.recreate.gather import gather
from aiidpd.components.containers.recreate.state import is_temporary
from aiidpd.components.containers.settings import UpgradeSettings
from aiidpd.components.containers.trial.body import beside_refusal
from aiidpd.components.containers.trial.permission import not_permitted
from aiidpd.contracts.trials import ImageFacts, TrialPlan

_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_MOST_DIGESTS: Final = 8
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Prepared:
    """Plan of a trial, and what it stands on; None where there is no such container."""

    plan: TrialPlan
    facts: Facts | None = None
    new_image: Mapping[str, Any] | None = None


async def prepare(
    actions: ContainerActions,
    name: str,
    image: str,
    *,
    settings: UpgradeSettings,
    busy: Callable[[str], str],
    stop_grace: float,
    successors: Mapping[str, str],
) -> Prepared:
    """Return the plan to try ``image`` in the place of the container ``name``. Raises ``Unavailable``.

    ``busy`` gives why a container (by its name) may not be touched now, an empty text where it may.
    """
    new = await actions.image(image)
    wanted = _facts(image, new)
    facts = await gather(actions, name, successors)
    if facts is None or facts.name != name:
        plan = TrialPlan(ImageFacts(""), wanted, "there is no container of this name", "see `docker ps -a`")
        return Prepared(plan)
    container = facts.container
    old = _facts(str(container["Config"].get("Image") or ""), facts.image, str(container["Image"]))
    plan = TrialPlan(
        old,
        wanted,
        beside_refusal=beside_refusal(container),
        same=bool(wanted.id) and wanted.id == old.id,
        gpu=bool(container["HostConfig"].get("DeviceRequests")),
        host_network=str(container["HostConfig"].get("NetworkMode")) == "host",
        stop_grace=stop_grace,
        notes=tuple(_notes(facts, image)),
    )
    found = _refusal(facts, settings, busy)
    if found is not None:
        plan = replace(plan, refusal=found.reason, remedy=found.remedy)
    return Prepared(plan, facts, new)


def _refusal(facts: Facts, settings: UpgradeSettings, busy: Callable[[str], str]) -> NotRecreated | None:
    denied = not_permitted(facts.name, labels(facts.container), settings)
    if denied is not None:
        return NotRecreated(denied.reason, denied.remedy)
    if is_temporary(facts.name):
        return NotRecreated("it is one of ours that has no place yet")
    if reason := busy(facts.name):
        return NotRecreated(reason, "wait for that to end")
    if not runs(facts.container):
        return NotRecreated("it does not run, and there is nothing to compare with", "start it")
    return refusal(facts) or refusal_of_copy(facts)


def _notes(facts: Facts, image: str) -> list[str]:
    found = labels(facts.container)
    if _PROJECT not in found:
        return []
    service, project = (str(found.get(key, ""))[:100] for key in (_SERVICE, _PROJECT))
    where = f"for {service} into the file of the project {project}"
    note = f"compose made it: once it is kept, write image: {image[:_LONGEST]} {where}"
    return [f"{note}, or the next `docker compose up` goes back"]


def _facts(reference: str, image: Mapping[str, Any] | None, identity: str = "") -> ImageFacts:
    digests = tuple(str(each)[:_LONGEST] for each in (image or {}).get("RepoDigests") or ())
    return ImageFacts(reference[:_LONGEST], str((image or {}).get("Id") or identity), digests[:_MOST_DIGESTS])
