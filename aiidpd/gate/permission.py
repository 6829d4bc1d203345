"""Permission to act on a container: by the gate's configuration or by the container's labels (pure).

Labels are read from the engine by the gate itself. They come with the container, and whoever creates one has
the whole machine anyway. What the configuration names stays named whatever a label says: an emergency
stops what is not to be healed, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from aiidpd.gate.recreation import place_of
from aiidpd.gate.settings import ACTS, RECREATE, UPGRADE, Rule

HEAL_LABEL: Final = "aiidpd.heal"
UPGRADE_LABEL: Final = "aiidpd.upgrade"
_PERMITTING: Final = (
    (HEAL_LABEL, "restart", ACTS),
    (HEAL_LABEL, RECREATE, (*ACTS, RECREATE)),
    (UPGRADE_LABEL, "allow", (*ACTS, UPGRADE)),
)
"""Labels and what they say, with the acts that they permit by that."""

_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_IDENTITY: Final = re.compile("[0-9a-f]{64}")


class Subject(NamedTuple):
    """Container as the engine describes it."""

    identity: str
    name: str
    labels: Mapping[str, str]


def subject_of(description: Any) -> Subject | None:
    """Return the container of a description, None where it is none."""
    if not isinstance(description, dict):
        return None
    identity, name, config = (description.get(key) for key in ("Id", "Name", "Config"))
    if not isinstance(identity, str) or not _IDENTITY.fullmatch(identity) or not isinstance(name, str):
        return None
    labels = config.get("Labels") if isinstance(config, dict) else None
    texts = labels.items() if isinstance(labels, dict) else ()
    return Subject(
        identity, name.removeprefix("/"), {key: value for key, value in texts if isinstance(value, str)}
    )


def is_permitted(subject: Subject, act: str, rules: tuple[Rule, ...]) -> bool:
    """Return whether ``act`` may be done to the container."""
    for label, word, acts in _PERMITTING:
        if act in acts and subject.labels.get(label, "").strip() == word:
            return True
    return any(act in rule.acts and _matches(rule, subject) for rule in rules)


def patterns_for(subject: Subject, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Return the patterns of repositories from which an image may be tried, besides the container's own."""
    return tuple(
        pattern
        for rule in rules
        if UPGRADE in rule.acts and _matches(rule, subject)
        for pattern in rule.images
    )


def _matches(rule: Rule, subject: Subject) -> bool:
    pairs = (
        (rule.name, place_of(subject.name).base),
        (rule.project, subject.labels.get(_PROJECT, "")),
        (rule.service, subject.labels.get(_SERVICE, "")),
    )
    return all(not pattern or fnmatchcase(text, pattern) for pattern, text in pairs)
