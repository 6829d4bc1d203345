"""Configuration of the gate: /etc/aiidpd/gate.toml, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

ACTS: Final = ("start", "stop", "restart", "kill", "pause", "unpause")
RECREATE: Final = "recreate"
"""Act that a rule has to name: a container is copied, and the copy takes its place."""
UPGRADE: Final = "upgrade"
"""Act that a rule has to name: another image is tried in its place. To start and stop it is part of that."""

_OF_UPGRADE: Final = ("start", "stop")
_PATTERN: Final = re.compile(r"(localhost|[a-z0-9.-]+(\.[a-z0-9-]+|:[0-9]+))(/[a-z0-9._*-]+)+", re.ASCII)
_RULE: Final = ("name", "project", "service")
_MOST_RULES: Final = 200
_LONGEST: Final = 200


class WrongSettings(Exception):
    """Configuration that can't be; its text says where and why."""


class Rule(NamedTuple):
    """Containers that may be acted on: all patterns that are set must match; ``*`` stands for any text.

    In the middle of a re-creation the name is that of the place which the container has or had. ``images``
    are patterns of repositories, besides its own, from which an image may be tried.
    """

    name: str = ""
    project: str = ""
    service: str = ""
    acts: tuple[str, ...] = ACTS
    images: tuple[str, ...] = ()


class GateSettings(NamedTuple):
    """``engine`` is the Docker Engine's socket; ``users`` may connect besides root."""

    engine: str = "/run/docker.sock"
    users: tuple[str | int, ...] = ("aiidpd",)
    rules: tuple[Rule, ...] = ()


def settings_of(document: Mapping[str, Any]) -> GateSettings:
    """Return the settings in a TOML document. Raises WrongSettings."""
    _known(document, ("engine", "users", "containers"), "")
    found = GateSettings()
    engine = document.get("engine", found.engine)
    if not isinstance(engine, str) or not engine.startswith("/") or "\0" in engine:
        raise WrongSettings("engine must be the absolute path of a socket")
    users = document.get("users", list(found.users))
    if not isinstance(users, list) or not all(_is_user(each) for each in users):
        raise WrongSettings("users must be a list of names or numbers")
    rules = document.get("containers", [])
    if not isinstance(rules, list) or len(rules) > _MOST_RULES:
        raise WrongSettings(f"containers must be tables [[containers]], {_MOST_RULES} at most")
    return GateSettings(engine, tuple(users), tuple(_rule(each, at) for at, each in enumerate(rules)))


def _rule(table: Any, at: int) -> Rule:
    place = f"containers[{at}]"
    if not isinstance(table, dict):
        raise WrongSettings(f"{place} must be a table")
    _known(table, (*_RULE, "acts", "images"), f"{place}.")
    texts = {key: table[key] for key in _RULE if key in table}
    for key, value in texts.items():
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
            raise WrongSettings(f"{place}.{key} must be a text of 1 to {_LONGEST} characters")
    if not texts:
        raise WrongSettings(f"{place} must have name, project or service")
    acts = table.get("acts", list(ACTS))
    known = (*ACTS, RECREATE, UPGRADE)
    if not isinstance(acts, list) or not acts or not all(each in known for each in acts):
        raise WrongSettings(f"{place}.acts must be a list of {', '.join(known)}")
    upgrades = UPGRADE in acts
    images = table.get("images", [])
    if not isinstance(images, list) or len(images) > _MOST_RULES or not all(map(_is_pattern, images)):
        raise WrongSettings(
            f"{place}.images must be a list of repositories with their registries, such as docker.io/vllm/*"
        )
    if images and not upgrades:
        raise WrongSettings(f"{place}.images is of use only where acts names {UPGRADE}")
    return Rule(**texts, acts=(*acts, *(_OF_UPGRADE if upgrades else ())), images=tuple(images))


def _known(table: Mapping[str, Any], keys: tuple[str, ...], place: str) -> None:
    wrong = next((key for key in table if key not in keys), None)
    if wrong is not None:
        raise WrongSettings(f"{place}{wrong[:_LONGEST]!r} is no key; known are {', '.join(keys)}")


def _is_pattern(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and _PATTERN.fullmatch(value) is not None


def _is_user(value: object) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _LONGEST
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
