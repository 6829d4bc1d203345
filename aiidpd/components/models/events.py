"""Events of the component: models that appeared, changed or are gone (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from aiidpd.components.models.record import InspectedRecord

MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Change:
    """Change of the model ``about`` between two scans."""

    kind: str
    about: str
    reason: str


def changes(
    before: Mapping[str, InspectedRecord], after: Mapping[str, InspectedRecord], missing: Iterable[str]
) -> tuple[Change, ...]:
    """Return what changed, at most :data:`MOST`; models of ``missing`` folders are not gone for that."""
    found = list(_changes(before, after, frozenset(missing)))
    if len(found) > MOST:
        more = len(found) - MOST + 1
        found = [*found[: MOST - 1], Change("model.changed", "", f"{more} more models changed, came or went")]
    return tuple(found)


def _changes(
    before: Mapping[str, InspectedRecord], after: Mapping[str, InspectedRecord], missing: frozenset[str]
) -> Iterator[Change]:
    for key, record in after.items():
        known = before.get(key)
        if known is None:
            yield Change("model.appeared", record.label, f"{record.label} lies in {record.folder} now")
        elif known.fingerprint != record.fingerprint:
            yield Change("model.changed", record.label, f"files of {record.label} in {record.folder} changed")
    for key, record in before.items():
        if key not in after and record.folder not in missing:
            yield Change("model.removed", record.label, f"{record.label} is not in {record.folder} any more")
