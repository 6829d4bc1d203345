"""Permission to try another image in the place of a container, by its label or the configuration (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from aiidpd.components.containers.settings import UpgradeSettings

LABEL: Final = "aiidpd.upgrade"
ALLOW: Final = "allow"
OFF: Final = "off"
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reason why another image is not tried, and what to do then."""

    reason: str
    remedy: str = ""


def not_permitted(name: str, labels: Mapping[str, str], settings: UpgradeSettings) -> Refusal | None:
    """Return why no image may be tried in the place of the container ``name``, None where one may.

    Its label wins over the configuration.
    """
    said = labels.get(LABEL)
    if said is None:
        if any(fnmatchcase(name, pattern) for pattern in settings.allow):
            return None
        return Refusal(
            "nobody has allowed it",
            f"give the container the label {LABEL}={ALLOW}, or name it in containers.upgrades.allow",
        )
    if said.strip() == ALLOW:
        return None
    if said.strip() == OFF:
        return Refusal(f"its label {LABEL} says {OFF}", f"change that to {LABEL}={ALLOW}")
    return Refusal(f"its label {LABEL} says {said[:_SHOWN]!r}", f"write {LABEL}={ALLOW} or {LABEL}={OFF}")
