"""A copy of a container, made by what the engine itself says of it: no caller adds a word to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

_CREATED: Final = 201
_OK: Final = 200
_LONGEST_MESSAGE: Final = 300

Fetch = Callable[[str, str, Mapping[str, Any] | None], tuple[int, Any]]
"""Calls the engine: method, target and document; returns the status and the document of its answer."""


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

    image = _described(fetch, f"/images/{_quoted(container['Image'])}/json")
    if image is None:
        return Copied(status=409, reason="its image is gone")
    named = _described(fetch, f"/images/{_quoted(container['Config'].get('Image') or '-')}/json")
    text = image_text(container, image, str((named or {}).get("Id") or ""))
    plan = make_plan(container, image=text, entrypoint=(image.get("Config") or {}).get("Entrypoint"))
    status, made = fetch("POST", f"/containers/create?name={quote(name)}", plan.body)
    if status != _CREATED:
        return Copied(status=status, reason=_words(made))
    identity = str(made["Id"])
    calls: list[tuple[str, str, Mapping[str, Any]]] = []
    if plan.disconnect:
        calls.append((plan.disconnect, "disconnect", {"Container": identity}))
    calls += [
        (each.network, "connect", {"Container": identity, "EndpointConfig": dict(each.endpoint)})
        for each in plan.connections
    ]
    for network, verb, document in calls:
        status, answer = fetch("POST", f"/networks/{quote(network, safe='')}/{verb}", document)
        if status != _OK:
            fetch("DELETE", f"/containers/{identity}", None)
            return Copied(status=status, reason=_words(answer))
    return Copied(identity)


def _described(fetch: Fetch, target: str) -> Mapping[str, Any] | None:
    status, document = fetch("GET", target, None)
    return document if status == _OK and isinstance(document, dict) else None


def _quoted(reference: object) -> str:
    return quote(str(reference), safe="/:@") if ".." not in str(reference) else "-"


def _words(document: object) -> str:
    found = document.get("message") if isinstance(document, dict) else None
    return str(found or "it does not say why")[:_LONGEST_MESSAGE]
