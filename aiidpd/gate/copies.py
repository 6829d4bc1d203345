"""A copy of a container, made by what the engine itself says of it: no caller adds a word to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiidpd.gate.engine import Fetch
from aiidpd.gate.message import segment, target_of

if TYPE_CHECKING:
    from aiidpd.components.containers.recreate.plan import Plan

_CREATED: Final = 201
_OK: Final = 200
_LONGEST_MESSAGE: Final = 300


class Copied(NamedTuple):
    """A copy that was made, its ``identity``; or the status and the words of the engine that refused."""

    identity: str = ""
    status: int = 0
    reason: str = ""


def make_copy(fetch: Fetch, container: Mapping[str, Any], name: str) -> Copied:
    """Create a container ``name`` as ``container`` is, on its networks; it is not started."""
    # Only a gate that is called for this has them in memory.
    from aiidpd.components.containers.recreate.described import image_text  # noqa: PLC0415
    from aiidpd.components.containers.recreate.plan import make_plan  # noqa: PLC0415

    image = described(fetch, "images", container["Image"])
    if image is None:
        return Copied(status=409, reason="its image is gone")
    named = described(fetch, "images", container["Config"].get("Image") or "-")
    text = image_text(container, image, str((named or {}).get("Id") or ""))
    plan = make_plan(container, image=text, entrypoint=(image.get("Config") or {}).get("Entrypoint"))
    return create(fetch, plan, name, str(container["Image"]))


def create(fetch: Fetch, plan: Plan, name: str, image: str) -> Copied:
    """Create the container of ``plan`` as ``name``, of the image with this id; or leave none."""
    status, made = fetch("POST", target_of("/containers/create", (("name", name),)), plan.body)
    if status != _CREATED:
        return Copied(status=status, reason=_words(made))
    identity = str(made["Id"])
    found = described(fetch, "containers", identity) or {}
    wrong = Copied(status=409, reason=f"{plan.body['Image']} leads to another image by now")
    if str(found.get("Image")) == image:
        refused = ((status, answer) for status, answer in _connect(fetch, identity, plan) if status != _OK)
        first = next(refused, None)
        if first is None:
            return Copied(identity)
        wrong = Copied(status=first[0], reason=_words(first[1]))
    fetch("DELETE", f"/containers/{segment(identity)}", None)
    return wrong


def _connect(fetch: Fetch, identity: str, plan: Plan) -> Iterator[tuple[int, Any]]:
    """Yield the engine's answer to each call that puts the container on its networks."""
    if plan.disconnect:
        target = f"/networks/{segment(plan.disconnect)}/disconnect"
        yield fetch("POST", target, {"Container": identity})
    for each in plan.connections:
        document = {"Container": identity, "EndpointConfig": dict(each.endpoint)}
        yield fetch("POST", f"/networks/{segment(each.network)}/connect", document)


def described(fetch: Fetch, kind: str, reference: object) -> Mapping[str, Any] | None:
    """Return the description of one of the engine's images or containers; None where there is none."""
    text = str(reference)
    name = segment(text, "/:@") if ".." not in text else "-"
    status, document = fetch("GET", f"/{kind}/{name}/json", None)
    return document if status == _OK and isinstance(document, dict) else None


def _words(document: object) -> str:
    found = document.get("message") if isinstance(document, dict) else None
    return str(found or "it does not say why")[:_LONGEST_MESSAGE]
