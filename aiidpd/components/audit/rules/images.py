"""Rules on the image of a container (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, rule
from aiidpd.contracts.inspections import Inspection

_DIGEST: Final = re.compile(r"(.*@)?sha256:[0-9a-f]{64}")
_PIN: Final = "have `aiidpctl audit pin FILE` write the digest that this machine has"


def pinned(image: str) -> bool:
    """Return whether ``image`` names its content, by digest or id."""
    return _DIGEST.fullmatch(image) is not None


def tag_of(image: str) -> str:
    """Return the tag of ``image``, empty where it has none."""
    head, colon, tail = image.partition("@")[0].rpartition(":")
    return tail if colon and head and "/" not in tail else ""


def _judged(container: Inspection) -> bool:
    """Return whether the image has a name that somebody chose: what is built on the spot has none to pin."""
    return bool(container.image) and not container.build and not pinned(container.image)


@rule(
    "image-latest",
    Level.MEDIUM,
    "The image is whatever is newest",
    why="After the next pull another engine runs, that nobody chose: its options and faults are new.",
    remedy=f"name a version, then {_PIN}",
    cis="5.28",
)
def image_latest(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find images without a tag, or with one that moves by its name."""
    if _judged(container) and tag_of(container.image) in ("", "latest"):
        yield Found(f"its image is {container.image}", "image", guess=True)


@rule(
    "image-unpinned",
    Level.LOW,
    "The image is not pinned",
    why="A tag can be moved to other content, by mistake or by whoever breaks into the registry.",
    remedy=_PIN,
)
def image_unpinned(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find images that are named by a tag alone."""
    if _judged(container) and tag_of(container.image) not in ("", "latest"):
        yield Found(f"its image is {container.image}", "image", guess=True)


RULES: Final = (image_latest, image_unpinned)
