"""Dependencies between containers: whose network one lives in, and whom its policy says it needs (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.components.containers.runtime import ContainerReading

_JOINED: Final = "container:"
_NONE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Dependencies by container id: ``needs`` those that exist, ``missing`` the names of those that don't.

    ``network`` is the container whose network one has joined, empty where that does not exist (any more).
    ``cycles`` are the names along each cycle, by the ids that are in it.
    """

    needs: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)
    network: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cycles: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)


def joined(reading: ContainerReading) -> str:
    """Return the id or name of the container whose network ``reading``'s has joined, or an empty text."""
    mode = reading.network_mode
    return mode.removeprefix(_JOINED) if mode.startswith(_JOINED) else ""


def dependencies(
    readings: Iterable[ContainerReading], depends_on: Mapping[str, tuple[str, ...]]
) -> Dependencies:
    """Return the dependencies between ``readings``; ``depends_on`` has the names of each by its id.

    A name is that of a container, or of a service of the same compose project.
    """
    readings = tuple(readings)
    joining = {each.id: other for each in readings if (other := joined(each))}
    if not joining and not any(depends_on.values()):
        return Dependencies()
    by_name = {each.name: each.id for each in readings}
    by_service = {(each.project, each.service): each.id for each in readings if each.service}
    names = {each.id: each.name for each in readings}
    needs: dict[str, tuple[str, ...]] = {}
    missing: dict[str, tuple[str, ...]] = {}
    network: dict[str, str] = {}
    for each in readings:
        found: list[str] = []
        if each.id in joining:
            other = joining[each.id]
            network[each.id] = other if other in names else by_name.get(other, "")
            found += [network[each.id]] if network[each.id] else []
        absent = []
        for name in depends_on.get(each.id, ()):
            identity = by_name.get(name) or by_service.get((each.project, name))
            if identity is None:
                absent.append(name)
            else:
                found.append(identity)
        if found:
            needs[each.id] = tuple(dict.fromkeys(found))
        if absent:
            missing[each.id] = tuple(absent)
    return Dependencies(needs, missing, network, _cycles(needs, names))


def start_order(identities: Iterable[str], needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return ``identities`` such that each comes after those that it needs; cycles are cut anywhere."""
    wanted = sorted(set(identities))
    ordered: dict[str, None] = {}
    seen: set[str] = set()
    for first in wanted:
        waiting = [(first, False)]
        while waiting:
            identity, ready = waiting.pop()
            if ready:
                ordered[identity] = None
            elif identity not in seen:
                seen.add(identity)
                waiting.append((identity, True))
                waiting += [(each, False) for each in reversed(needs.get(identity, ()))]
    chosen = frozenset(wanted)
    return tuple(each for each in ordered if each in chosen)


def dependants(identity: str, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return all that need ``identity``, directly or through others, in the order of their start."""
    found: set[str] = set()
    waiting = [identity]
    while waiting:
        one = waiting.pop()
        for each, needed in needs.items():
            if one in needed and each not in found and each != identity:
                found.add(each)
                waiting.append(each)
    return start_order(found, needs)


def _cycles(needs: Mapping[str, tuple[str, ...]], names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return for each container that needs itself through others the names along the way."""
    found: dict[str, tuple[str, ...]] = {}
    for identity in _on_cycles(needs):
        path = _way_back(identity, needs)
        if path is not None:
            found[identity] = tuple(names[each] for each in path)
    return found


def _on_cycles(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return those that may be on a cycle: what is left when all that need nothing are taken away."""
    left = {each: set(needed) & needs.keys() for each, needed in needs.items()}
    while free := [each for each, needed in left.items() if not needed]:
        for each in free:
            del left[each]
        for needed in left.values():
            needed.difference_update(free)
    return list(left)


def _way_back(identity: str, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the shortest way from ``identity`` back to it, None where there is none."""
    before: dict[str, str] = {}
    waiting = [identity]
    for one in waiting:
        for each in needs.get(one, ()):
            if each == identity:
                way = [one]
                while way[-1] != identity:
                    way.append(before[way[-1]])
                return (*reversed(way), identity)
            if each not in before:
                before[each] = one
                waiting.append(each)
    return None
