"""Repositories from which an image may take the place of a container's own (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from aiidpd.gate.reference import Reference, is_identity, parse


def own_repository(container: Mapping[str, Any], image: Mapping[str, Any] | None) -> str:
    """Return the repository of a container's image, an empty text where that is not certain.

    One that was created by an id has that of all names of its ``image``.
    """
    text = str((container.get("Config") or {}).get("Image") or "")
    if not is_identity(text):
        found = parse(text)
        return "" if found is None else found.repository
    names = {each.repository for each in names_of(image or {})}
    return names.pop() if len(names) == 1 else ""


def is_allowed(repository: str, own: str, patterns: Iterable[str]) -> bool:
    """Return whether images of ``repository`` may be used: it is the container's ``own``, or a pattern's."""
    if own and repository == own:
        return True
    return any(fnmatchcase(repository, each) or _repository(each) == repository for each in patterns)


def _repository(pattern: str) -> str:
    """Return the repository of a pattern without ``*``: docker.io/busybox is docker.io/library/busybox."""
    found = parse(pattern)
    return "" if found is None else found.repository


def names_of(image: Mapping[str, Any]) -> tuple[Reference, ...]:
    """Return all references by which the engine knows an image."""
    texts = [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]
    return tuple(found for each in texts if (found := parse(str(each))) is not None)


def name_of(image: Mapping[str, Any], wanted: str, allowed: Callable[[str], bool]) -> Reference | None:
    """Return the reference to ``image``, which was found by ``wanted``, in an allowed repository; or None.

    ``wanted`` is an id, or a reference that the engine must know the image by.
    """
    names = names_of(image)
    if is_identity(wanted):
        if image.get("Id") != wanted:
            return None
        return next((each for each in names if allowed(each.repository)), None)
    reference = parse(wanted)
    if reference is None or not allowed(reference.repository):
        return None
    key = reference.repository, reference.version
    return reference if any((each.repository, each.version) == key for each in names) else None
