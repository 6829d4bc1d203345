"""Refusal of what can't be created anew as it is, with the reason (pure). Nothing was touched by then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiidpd.components.containers.heal.protocols import NotRecreated
from aiidpd.components.containers.recreate.described import (
    LAYER_LABEL,
    WAY_LABEL,
    Description,
    image_text,
    is_connected,
    labels,
    name_of,
    networks,
    volume_sources,
)

LARGEST_LAYER: Final = 64 * 2**20
"""Bytes that a container may have written into its own layer: logs and caches are less, models are more."""

_DISCARD: Final = "discard"
_WAYS: Final = frozenset({"compose", "inspect"})
_KNOWN_MOUNTS: Final = frozenset({"bind", "volume", "tmpfs"})
_SWARM: Final = "com.docker.swarm."
_MADE_BY_COMPOSE: Final = "com.docker.compose.version"
_ADDED: Final = 1  # kind of a change in the layer
# Below /etc these are written by the runtime's own hooks and by programs that start.
_USUAL_IN_ETC: Final = ("/etc/ld.so", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab")
_BY_RUNTIME: Final = ("/sbin", "/dev", "/proc", "/sys")
_MOST_PLACES: Final = 3
_LONGEST: Final = 200  # characters of a name from outside


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is to be known of a container before it is created anew.

    ``container`` is its description with the size of its layer, and ``image`` that of its image, None where
    that is gone. ``tag`` is the id of the image that its image's name leads to now, empty for none. ``gone``
    names (kind, name) what it refers to and what does not exist any more. ``changes`` are those in its layer,
    None where they could not be read.
    """

    container: Description
    image: Mapping[str, Any] | None
    tag: str
    gone: tuple[tuple[str, str], ...] = ()
    changes: Sequence[Mapping[str, Any]] | None = ()

    @property
    def name(self) -> str:
        """Name of the container."""
        return name_of(self.container)

    @property
    def image_text(self) -> str:
        """Text that leads to the container's very image, also where its name leads to another by now."""
        return image_text(self.container, self.image, self.tag)


def refusal(facts: Facts) -> NotRecreated | None:
    """Return why the container can't be created anew by any way, None where it can."""
    return next(_refusals(facts), None)


def refusal_of_copy(facts: Facts) -> NotRecreated | None:
    """Return why it can't be copied from its description, where :func:`refusal` has found nothing."""
    return next(_refusals_of_copy(facts), None)


def _refusals(facts: Facts) -> Iterator[NotRecreated]:
    container, host = facts.container, facts.container["HostConfig"]
    status = str(container["State"]["Status"])
    if status in ("paused", "removing", "dead"):
        yield NotRecreated(f"it is {status}", f"see `docker inspect {facts.name}`")
    if host.get("AutoRemove"):
        yield NotRecreated(
            "it removes itself when it ends (--rm), so it could not be put back", "start it without --rm"
        )
    if any(key.startswith(_SWARM) for key in labels(container)):
        yield NotRecreated(
            "it is a task of a swarm, which creates it anew itself", "use `docker service update`"
        )
    way = labels(container).get(WAY_LABEL, "")
    if way and way not in _WAYS:
        yield NotRecreated(
            f"its label {WAY_LABEL} says {way[:_LONGEST]!r}", f"set it to {' or '.join(sorted(_WAYS))}"
        )
    yield from _refusals_of_layer(facts)


def _refusals_of_layer(facts: Facts) -> Iterator[NotRecreated]:
    said = labels(facts.container).get(LAYER_LABEL, "")
    if said == _DISCARD:
        return
    if said:
        yield NotRecreated(
            f"its label {LAYER_LABEL} says {said[:_LONGEST]!r}", f"set it to {_DISCARD}, or remove it"
        )
    size = facts.container.get("SizeRw")
    keep = f"mount a volume there, or set the label {LAYER_LABEL}={_DISCARD}"
    if size is None:
        yield NotRecreated("it is not known how much it has written into its own layer", keep)
    elif size > LARGEST_LAYER:
        yield NotRecreated(
            f"{size / 2**20:.0f} MiB that it has written into its own layer{_places(facts.changes or ())} "
            "would be lost",
            keep,
        )


def _refusals_of_copy(facts: Facts) -> Iterator[NotRecreated]:
    container, host = facts.container, facts.container["HostConfig"]
    if facts.image is None:
        yield NotRecreated("its image is gone", f"pull or build {container['Config'].get('Image')!r:.200}")
    if host.get("Links"):
        yield NotRecreated(
            "it has legacy links (--link), which point into other containers", "use a network of its own"
        )
    for mount in container.get("Mounts") or ():
        if mount.get("Type") not in _KNOWN_MOUNTS:
            yield NotRecreated(f"it has a mount of type {mount.get('Type')!r:.40}, which can't be copied")
    if not networks(container) and is_connected(host):
        yield NotRecreated(
            "it was disconnected from all of its networks, and a new one would be connected again",
            f"connect it, or recreate {facts.name} by hand",
        )
    for kind, name in facts.gone:
        yield NotRecreated(f"its {kind} {name[:_LONGEST]} is gone", "make it again, or recreate by hand")
    anonymous = [
        path
        for path in container["Config"].get("Volumes") or ()
        if ":" in path and path in volume_sources(container)
    ]
    if anonymous:
        yield NotRecreated(
            f"its volume at {anonymous[0]!r:.200} has a path with a colon, which can't be named"
        )
    yield from _refusals_of_injected(facts)


def _refusals_of_injected(facts: Facts) -> Iterator[NotRecreated]:
    """Yield the refusal of files that compose has copied into the container: `configs:` and `secrets:`.

    Compose 2.23 and newer do so where the file has their content; nothing in the description tells of it.
    """
    if _major(labels(facts.container).get(_MADE_BY_COMPOSE, "")) < 2:  # noqa: PLR2004 -- the first to do so
        return
    for change in facts.changes or ():
        path = str(change.get("Path"))
        in_etc = path.startswith("/etc/") and not path.startswith(_USUAL_IN_ETC)
        beside_root = path.count("/") == 1 and not any(
            str(other.get("Path")).startswith(f"{path}/") for other in facts.changes or ()
        )
        if change.get("Kind") == _ADDED and (in_etc or beside_root or path.startswith("/run/secrets/")):
            yield NotRecreated(
                f"{path[:_LONGEST]} was added to it, which may be one of compose's configs or secrets",
                f"make its compose file readable for aiidpd, or set the label {LAYER_LABEL}={_DISCARD}",
            )


def _places(changes: Sequence[Mapping[str, Any]]) -> str:
    """Return the folders in which most was added, for a text."""
    paths = (str(change.get("Path")) for change in changes if change.get("Kind") == _ADDED)
    added = Counter("/".join(path.split("/")[:4]) for path in paths if not path.startswith(_BY_RUNTIME))
    named = ", ".join(path[:_LONGEST] for path, _ in added.most_common(_MOST_PLACES))
    return f" ({named})" if named else ""


def _major(version: str) -> int:
    head = version.removeprefix("v").partition(".")[0]
    return int(head) if head.isascii() and head.isdigit() and len(head) < 4 else 0  # noqa: PLR2004 -- digits
