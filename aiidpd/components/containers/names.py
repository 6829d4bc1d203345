"""Names of containers near to one that is not there (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_LONGEST: Final = 200  # characters
_MOST: Final = 3


def near(wanted: str, known: Iterable[str]) -> list[str]:
    """Return at most three of the names in ``known`` that somebody who wrote ``wanted`` may have meant."""
    known = list(known)
    containing = [name for name in known if wanted and wanted in name]
    alike = get_close_matches(wanted[:_LONGEST], known, n=_MOST, cutoff=0.5)
    return list(dict.fromkeys([*containing, *alike]))[:_MOST]
