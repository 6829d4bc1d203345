"""Body of the call that creates a container of another image, otherwise as one that is there (pure).

The description of a container has what it was given and what its image brought, in one. What is the same as
in the old image is taken as brought by it, and left to the new one; everything else was given, and is given
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiidpd.components.containers.recreate.described import Description, is_connected
from aiidpd.components.containers.recreate.plan import Plan, make_plan

_PLAIN: Final = ("WorkingDir", "User", "StopSignal", "StopTimeout", "Healthcheck", "Shell", "OnBuild")
_BY_KEY: Final = ("Labels", "ExposedPorts", "Volumes")
_ENGINE: Final = "aiidpd.engine"
_KEPT: Final = ("aiidpd.upgrade", "com.docker.compose.")
"""Beginnings of labels that permit, and that say whose it is: given again, whoever brought them."""

_LOOPBACK: Final = "127.0.0.1"


def body_with(
    container: Description,
    old_image: Description,
    image: str,
    *,
    successors: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan of a container of ``image``, which is otherwise as ``container``, of ``old_image``."""
    brought: Mapping[str, Any] = old_image.get("Config") or {}
    plan = make_plan(
        container, image=image, entrypoint=brought.get("Entrypoint"), successors=successors or {}
    )
    return plan._replace(body=_without(plan.body, brought))


def beside(plan: Plan) -> Plan:
    """Return ``plan`` for a container that is to run at the same time, on ports of its own.

    Its ports are published on loopback alone, where the runtime chooses; it has no name, address or label by
    which users would come to it, and is not started again by itself.
    """
    body = dict(plan.body)
    host = {
        **body["HostConfig"],
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "PublishAllPorts": False,
    }
    ports = {*(host.get("PortBindings") or {}), *(body.get("ExposedPorts") or {})}
    host["PortBindings"] = {port: [{"HostIp": _LOOPBACK, "HostPort": ""}] for port in sorted(ports)}
    body |= {"HostConfig": host, "ExposedPorts": {port: {} for port in sorted(ports)}}
    labels = body.get("Labels") or {}
    body["Labels"] = {key: value for key, value in labels.items() if key.startswith(_ENGINE)}
    body.pop("Hostname", None)
    body.pop("MacAddress", None)
    if "NetworkingConfig" in body:
        names = body["NetworkingConfig"]["EndpointsConfig"]
        body["NetworkingConfig"] = {"EndpointsConfig": {name: {} for name in names}}
    connections = tuple(each._replace(endpoint={}) for each in plan.connections)
    return plan._replace(body=body, connections=connections)


def beside_refusal(container: Description) -> str:
    """Return why a second one can't run at the same time, an empty text where it can."""
    host = container["HostConfig"]
    if str(host.get("NetworkMode")) == "host":
        return "it is in the host's network, where only one can have its port"
    if not is_connected(host):
        return "it has no network of its own"
    return ""


def _without(body: Mapping[str, Any], brought: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` without what the old image has brought."""
    found = dict(body)
    inherited = _same(found.get("Entrypoint"), brought.get("Entrypoint"))
    if inherited:
        found.pop("Entrypoint", None)
        if _same(found.get("Cmd"), brought.get("Cmd")):
            found.pop("Cmd", None)
    for key in _PLAIN:
        if key in found and _same(found[key], brought.get(key)):
            del found[key]
    for key in _BY_KEY:
        theirs = brought.get(key) or {}
        found[key] = {
            name: each
            for name, each in (found.get(key) or {}).items()
            if theirs.get(name) != each or (key == "Labels" and name.startswith(_KEPT))
        }
    theirs = {str(each) for each in brought.get("Env") or ()}
    found["Env"] = [each for each in found.get("Env") or () if str(each) not in theirs]
    return found


def _same(one: object, other: object) -> bool:
    return (one or None) == (other or None)
