"""Differences between a container and the one that was made of another image (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiidpd.components.containers.recreate.compare import differences
from aiidpd.components.containers.recreate.described import Description
from aiidpd.components.containers.recreate.plan import Plan
from aiidpd.platform.redaction import Redactor

_MOST: Final = 60
_LONGEST: Final = 200


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
