"""Plan of a copy (pure): what the runtime is asked for, so that a container comes out as another is.

Everything that the description has under ``Config`` and ``HostConfig`` goes back whole, so that keys of a
newer runtime do too. The runtime merges the image's configuration into what it is given, and both are the
same image's: what came from the image comes out the same. Changed is only what would come out otherwise:

- anonymous volumes are named, or the copy would have empty ones;
- a host name that is the beginning of the old id, or another container's, is left to the runtime;
- an entrypoint that was removed is removed in the runtime's words, or the image's would come back;
- a namespace of a container that was created anew meanwhile is the one of its successor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiidpd.components.containers.recreate.described import (
    SHORT,
    Description,
    is_connected,
    joined,
    joins,
    networks,
    primary,
    volume_sources,
)

# Of an endpoint: what the runtime assigned. Everything else was asked for.
_ASSIGNED: Final = frozenset(
    {
        "DNSNames",
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
        "NetworkID",
    }
)


class Connection(NamedTuple):
    """A network to connect the copy to, and what is asked for there."""

    network: str
    endpoint: Mapping[str, Any]


class Plan(NamedTuple):
    """Body of the call that creates the copy, and what is left to do with its networks then.

    ``disconnect`` is the network that it is created with and that the old one had left; empty for none.
    """

    body: Mapping[str, Any]
    connections: tuple[Connection, ...] = ()
    disconnect: str = ""


def make_plan(
    container: Description,
    *,
    image: str,
    entrypoint: object = None,
    successors: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan of a copy of ``container``, which must have been found faithful.

    ``image`` is the text that leads to its very image, and ``entrypoint`` that image's own. ``successors``
    maps ids of containers that are gone to those of the containers in their places.
    """
    config, host = dict(container["Config"]), dict(container["HostConfig"])
    config["Image"] = image
    if not config.get("Entrypoint") and entrypoint:
        config["Entrypoint"] = [""]
    _leave_names(config, host, str(container["Id"]))
    _pin_volumes(config, host, volume_sources(container))
    for key, other in tuple(joined(host)):
        host[key] = f"container:{(successors or {}).get(other, other)}"
    endpoints = {name: asked_for(each, container) for name, each in networks(container).items()}
    first = primary(container)
    body: dict[str, Any] = {**config, "HostConfig": host}
    if not is_connected(host):
        return Plan(body)
    if first in endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": {first: endpoints[first]}}
    more = tuple(Connection(name, endpoint) for name, endpoint in endpoints.items() if name != first)
    return Plan(body, more, disconnect="" if first in endpoints else first)


def asked_for(endpoint: Mapping[str, Any], container: Description) -> dict[str, Any]:
    """Return what somebody asked for at ``endpoint`` of ``container``, without what the runtime added."""
    found = {key: value for key, value in endpoint.items() if key not in _ASSIGNED and value}
    short = str(container["Id"])[:SHORT]
    aliases = [alias for alias in endpoint.get("Aliases") or () if alias != short]
    found.pop("Aliases", None)
    return {**found, **({"Aliases": aliases} if aliases else {})}


def _leave_names(config: dict[str, Any], host: Mapping[str, Any], identity: str) -> None:
    if joins(host, "NetworkMode"):
        # Its name and ports are those of the container whose network it shares, and may not be given.
        config.pop("Hostname", None)
        config.pop("Domainname", None)
        config.pop("ExposedPorts", None)
    elif host.get("UTSMode") == "host" or config.get("Hostname") == identity[:SHORT]:
        config.pop("Hostname", None)


def _pin_volumes(config: Mapping[str, Any], host: dict[str, Any], volumes: Mapping[str, str]) -> None:
    """Name the anonymous ones of ``volumes`` in ``host``: those that were asked for by a path alone."""
    mounts = [dict(mount) for mount in host.get("Mounts") or ()]
    for mount in mounts:
        if mount.get("Type") == "volume" and not mount.get("Source"):
            mount["Source"] = volumes.get(str(mount.get("Target")), "")
    if mounts:
        host["Mounts"] = mounts
    binds = [str(bind) for bind in host.get("Binds") or ()]
    named = {bind_target(bind) for bind in binds} | {str(mount.get("Target")) for mount in mounts}
    unnamed = [path for path in config.get("Volumes") or () if path in volumes and path not in named]
    if unnamed:
        host["Binds"] = [*binds, *(f"{volumes[path]}:{path}" for path in sorted(unnamed))]


def bind_target(bind: str) -> str:
    """Return the path in the container of ``SOURCE:TARGET[:MODE]``."""
    parts = bind.split(":")
    return parts[1] if len(parts) > 1 else parts[0]
