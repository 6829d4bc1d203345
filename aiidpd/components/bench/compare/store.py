"""Comparisons on the disk: a file each, the newest stay."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiidpd.components.bench.compare.result import Comparison
from aiidpd.kernel.errors import NotFound
from aiidpd.platform.statefile import StateFile, StateUnreadable

FOLDER: Final = "comparisons"
_KEPT: Final = 50
_NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]{1,4})?")


class ComparisonStore:
    """Folder of comparisons. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_id(self, at: float) -> str:
        """Return the id of a comparison that begins ``at`` (Unix seconds); no other has it."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        taken = set(self._ids())
        numbered = (f"{stamp}-{number}" for number in range(2, 1000))
        return next((each for each in (stamp, *numbered) if each not in taken), stamp)

    def save(self, comparison: Comparison) -> None:
        """Write ``comparison``, and remove the oldest of too many; raises :class:`OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(comparison.id).save(comparison)
        for old in self._ids()[:-_KEPT]:
            with suppress(OSError):
                self._path(old).unlink()

    def load(self, identity: str) -> Comparison:
        """Return the comparison ``identity``; raises :class:`NotFound` or :class:`StateUnreadable`."""
        found = self._file(identity).load() if _NAME.fullmatch(identity) else None
        if found is None:
            remedy = "`aiidpctl bench comparisons` lists those there are"
            raise NotFound("read comparison", identity, reason="there is none of this id", remedy=remedy)
        return found

    def all(self) -> tuple[list[Comparison], list[str]]:
        """Return the comparisons that can be read, the newest last, and why others can't be."""
        found, problems = [], []
        for identity in self._ids():
            try:
                found.append(self.load(identity))
            except StateUnreadable as error:
                problems.append(str(error))
            except NotFound:  # removed meanwhile
                continue
        return found, problems

    def _ids(self) -> list[str]:
        with suppress(OSError):
            names = (path.name.removesuffix(".json") for path in self._folder.glob("*.json"))
            return sorted((name for name in names if _NAME.fullmatch(name)), key=_order)
        return []

    def _path(self, identity: str) -> Path:
        return self._folder / f"{identity}.json"

    def _file(self, identity: str) -> StateFile[Comparison]:
        return StateFile(self._path(identity), Comparison, remedy="remove it, or compare again")


def _order(identity: str) -> tuple[str, int]:
    stamp, _, number = identity.partition("-")
    return stamp, int(number or 1)
