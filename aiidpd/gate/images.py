"""Another image in the place of a container's own: from which repositories, and a container of it.

The image is the one that was checked: the new container is described once it is there, and is removed where
the name led elsewhere by then. It can't be started before that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiidpd.gate.copies import Copied, create, described
from aiidpd.gate.engine import Fetch
from aiidpd.gate.recreation import BESIDE, place_of
from aiidpd.gate.reference import Reference, is_identity, parse
from aiidpd.gate.repositories import is_allowed, name_of, own_repository


class Choice(NamedTuple):
    """Image that may be used: its own one, of the container; its ``reference`` and id where it is here.

    Or the ``status`` and the ``reason`` why it may not.
    """

    status: int = 0
    reason: str = ""
    own: Mapping[str, Any] | None = None
    reference: Reference | None = None
    identity: str = ""


def choose(fetch: Fetch, container: Mapping[str, Any], wanted: str, patterns: tuple[str, ...]) -> Choice:
    """Return the image ``wanted``, if it is of an allowed repository; ``patterns`` are those of others."""
    own = described(fetch, "images", container["Image"])
    repository = own_repository(container, own)

    def allowed(other: str) -> bool:
        return is_allowed(other, repository, patterns)

    reference = parse(wanted)
    if reference is not None and not allowed(reference.repository):
        return Choice(403, _refusal(reference.repository, repository))
    found = described(fetch, "images", wanted if reference is None else reference.whole)
    if found is None:
        known = reference is not None
        return Choice(reference=reference, own=own) if known else Choice(404, f"No such image: {wanted}")
    named = name_of(found, wanted, allowed)
    if named is None:
        return Choice(403, _refusal(f"image {wanted}", repository))
    return Choice(own=own, reference=named, identity=str(found["Id"]))


def make_tried(
    fetch: Fetch,
    container: Mapping[str, Any],
    choice: Choice,
    name: str,
    permitted: Callable[[Mapping[str, str]], bool],
) -> Copied:
    """Create a container ``name`` of the chosen image, otherwise as ``container``; it is not started.

    ``permitted``: the steps of its trial will be let through with these labels.
    """
    from aiidpd.components.containers.trial.body import beside, beside_refusal, body_with  # noqa: PLC0415

    if choice.reference is None or not choice.identity:
        return Copied(status=404, reason=f"No such image: {choice.reference and choice.reference.text}")
    if choice.own is None:
        return Copied(status=409, reason="its own image is gone")
    plan = body_with(container, choice.own, choice.reference.text)
    if place_of(name).kind == BESIDE:
        if reason := beside_refusal(container):
            return Copied(status=409, reason=reason)
        plan = beside(plan)
    elif not permitted(plan.body["Labels"]):
        return Copied(status=409, reason="the labels that permit it come from its image: give them to it")
    return create(fetch, plan, name, choice.identity)


def fetch_target(wanted: str) -> tuple[tuple[str, str], ...] | None:
    """Return the query by which the engine fetches an image, None for an id, which no registry knows."""
    reference = None if is_identity(wanted) else parse(wanted)
    if reference is None:
        return None
    return ("fromImage", reference.repository), ("tag", reference.version)


def _refusal(what: str, own: str) -> str:
    whose = own or "not certain"
    return f"{what} is not of the container's own repository ({whose}), nor does images of its table name it"
