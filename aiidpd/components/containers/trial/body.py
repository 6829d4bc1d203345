"""Body of the call that creates a container of another image, otherwise as one that is there (pure).

The description of a container has what it was given and what its image brought, in one. What is the same as
in the old image is taken as brought by it, and left to the new one; everything else was given, and is given
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from aiidpd.components.containers.recreate.compare import differences
from aiidpd.components.containers.recreate.described import Description, is_connected
from aiidpd.components.containers.recreate.plan import Plan, make_plan
from aiidpd.platform.redaction import Redactor

_PLAIN: Final = ("WorkingDir", "User", "StopSignal", "StopTimeout", "Healthcheck", "Shell", "OnBuild")
_BY_KEY: Final = ("Labels", "ExposedPorts", "Volumes")
_ENGINE: Final = "aiidpd.engine"
_LOOPBACK: Final = "127.0.0.1"
_MOST: Final = 60
_LONGEST: Final = 200


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
    return replace(plan, body=_without(plan.body, brought))


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
    connections = tuple(replace(each, endpoint={}) for each in plan.connections)
    return replace(plan, body=body, connections=connections)


def beside_refusal(container: Description) -> str:
    """Return why a second one can't run at the same time, an empty text where it can."""
    host = container["HostConfig"]
    if str(host.get("NetworkMode")) == "host":
        return "it is in the host's network, where only one can have its port"
    if not is_connected(host):
        return "it has no network of its own"
    return ""


def not_as_planned(old: Description, new: Description, plan: Plan) -> tuple[str, ...]:
    """Return the fields in which ``new`` did not come out as ``plan`` has it: limits, mounts, networks."""
    found = differences(old, new, plan)
    return tuple(each for each in found if each.startswith(("HostConfig", "NetworkSettings")))


def described_differences(old: Description, new: Description) -> tuple[str, ...]:
    """Return each field in which the two descriptions differ, with both values, for people; no secrets."""
    found: list[str] = []
    redactor = Redactor()
    first, second = redactor.document(dict(old["Config"])), redactor.document(dict(new["Config"]))
    for key in sorted({*first, *second}):
        if key in ("Hostname", "Domainname") or (first.get(key) or None) == (second.get(key) or None):
            continue
        found += _of_field(key, first.get(key), second.get(key))
    if str(old.get("Image")) != str(new.get("Image")):
        found.insert(0, f"Image: {old.get('Image')} -> {new.get('Image')}")
    return tuple(each[:_LONGEST] for each in found[:_MOST])


def _of_field(key: str, old: object, new: object) -> list[str]:
    if isinstance(old, Mapping) or isinstance(new, Mapping):
        ours = old if isinstance(old, Mapping) else {}
        theirs = new if isinstance(new, Mapping) else {}
        names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        return [f"{key}.{name}: {_shown(ours.get(name))} -> {_shown(theirs.get(name))}" for name in names]
    if key == "Env":
        before, after = _listed(old), _listed(new)
        gone = [f"Env: {each} -> -" for each in before if each not in after]
        return gone + [f"Env: - -> {each}" for each in after if each not in before]
    return [f"{key}: {_shown(old)} -> {_shown(new)}"]


def _shown(value: object) -> str:
    return "-" if value in (None, "", [], {}) else str(value)


def _listed(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


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
        given = {name: each for name, each in (found.get(key) or {}).items() if theirs.get(name) != each}
        found[key] = given
    theirs = {str(each) for each in brought.get("Env") or ()}
    found["Env"] = [each for each in found.get("Env") or () if str(each) not in theirs]
    return found


def _same(one: object, other: object) -> bool:
    return (one or None) == (other or None)
