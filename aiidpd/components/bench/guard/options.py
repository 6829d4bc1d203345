"""Options of an upgrade under guard (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

PAIRS: Final = 20
SLOWER: Final = 0.05
AGREE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """Wishes of whoever requests an upgrade of ``container`` to ``image``.

    ``pairs`` are measurements of each side (in each round), ``slower`` the share by which no figure may be
    slower, ``agree`` the share of answers that must be the same. ``swap_back`` is how often the old one is
    measured again in between. ``beside``: None is by arithmetic. ``endpoint`` names the engine, where that is
    not known by its container; ``profile`` is the acceptance profile's name, or its text. Times in seconds.
    """

    container: str
    image: str
    pairs: int = PAIRS
    slower: float = SLOWER
    agree: float = AGREE
    swap_back: int = 0
    beside: bool | None = None
    endpoint: str = ""
    profile: str = "default"
    ready: float = 600.0
    settle: float = 60.0
    drain: float = 300.0
    minutes: float = 60.0
    seed: int | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Options:
        """Return those that the ``arguments`` of a job have."""
        names = cls.names()
        return cls(**{name: value for name, value in arguments.items() if name in names})

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of all options."""
        return frozenset(each.name for each in fields(cls))

    def arguments(self) -> dict[str, Any]:
        """Return them as the arguments of a job."""
        return {name: getattr(self, name) for name in sorted(self.names())}
