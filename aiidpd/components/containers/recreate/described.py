"""Readers of a container's description, as the runtime's API has it (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

Description: TypeAlias = Mapping[str, Any]

SHORT: Final = 12
"""Characters of an id that the runtime uses as a host name and as an alias."""

LAYER_LABEL: Final = "aiidpd.recreate.layer"
WAY_LABEL: Final = "aiidpd.recreate"

# Endpoints of these come from the mode alone: nothing is connected by hand.
_UNCONNECTED: Final = frozenset({"none", "host"})
_JOINED: Final = "container:"
_MODES: Final = ("NetworkMode", "IpcMode", "PidMode")


def name_of(container: Description) -> str:
    """Return the name without the slash that the API has before it."""
    return str(container.get("Name") or "").removeprefix("/")


def runs(container: Description) -> bool:
    """Return whether it runs, is paused or waits for its restart."""
    return str(container["State"]["Status"]) in ("running", "paused", "restarting")


def labels(container: Description) -> Mapping[str, str]:
    """Return its labels."""
    return (container.get("Config") or {}).get("Labels") or {}


def networks(container: Description) -> Mapping[str, Mapping[str, Any]]:
    """Return its endpoints by the names of their networks."""
    found = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return {str(name): endpoint or {} for name, endpoint in found.items()}


def joined(host: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, container) for each namespace that it shares with another container."""
    for key in _MODES:
        mode = str(host.get(key) or "")
        if mode.startswith(_JOINED):
            yield key, mode.removeprefix(_JOINED)


def joins(host: Mapping[str, Any], key: str) -> bool:
    """Return whether the namespace of ``key`` is another container's."""
    return any(found == key for found, _ in joined(host))


def is_connected(host: Mapping[str, Any]) -> bool:
    """Return whether it has networks that it can be connected to and disconnected from."""
    return str(host.get("NetworkMode") or "") not in _UNCONNECTED and not joins(host, "NetworkMode")


def primary(container: Description) -> str:
    """Return the name of the network that it is created with, as far as its endpoints know it."""
    mode = str(container["HostConfig"].get("NetworkMode") or "default")
    if mode == "default":
        return "bridge"
    for name, endpoint in networks(container).items():
        if mode == endpoint.get("NetworkID"):
            return name
    return mode


def image_text(container: Description, image: Description | None, tag: str) -> str:
    """Return the text that leads to the very ``image``; ``tag`` is the id that the image's name leads to."""
    text, identity = str(container["Config"].get("Image") or ""), str(container["Image"])
    if tag == identity:
        return text
    name = text.partition("@")[0]
    repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    digests = [str(each) for each in (image or {}).get("RepoDigests") or ()]
    return next((each for each in digests if each.partition("@")[0] == repository), identity)


def volume_sources(container: Description) -> Mapping[str, str]:
    """Return the names of its volumes by the paths at which they are mounted."""
    return {
        str(mount["Destination"]): str(mount["Name"])
        for mount in container.get("Mounts") or ()
        if mount.get("Type") == "volume" and mount.get("Name")
    }
