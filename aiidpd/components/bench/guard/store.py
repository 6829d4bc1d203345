"""Evidence of upgrades on the disk: a file each, the newest stay."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiidpd.components.bench.guard.document import Upgrade
from aiidpd.kernel.errors import NotFound
from aiidpd.platform.statefile import StateFile, StateUnreadable

FOLDER: Final = "upgrades"
KEPT: Final = 50
_LIMIT: Final = 4 << 20  # bytes
_NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]{1,4})?")
_INTERRUPTED: Final = (
    "the daemon ended in the middle; the old container was put back: see `aiidpctl events --kind "
    "container.upgrade_returned`"
)


class UpgradeStore:
    """Folder of upgrades. Every method blocks. ``running`` is the id of the one that goes on now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running = ""

    def new_id(self, at: float) -> str:
        """Return the id of an upgrade that begins ``at`` (Unix seconds); no other has it."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        taken = set(self._ids())
        numbered = (f"{stamp}-{number}" for number in range(2, 1000))
        return next((each for each in (stamp, *numbered) if each not in taken), stamp)

    def save(self, upgrade: Upgrade) -> None:
        """Write ``upgrade``, and remove the oldest of too many; raises :class:`OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(upgrade.id).save(upgrade)
        for old in self._ids()[:-KEPT]:
            with suppress(OSError):
                self._path(old).unlink()

    def load(self, identity: str) -> Upgrade:
        """Return the upgrade ``identity``; raises :class:`NotFound` or :class:`StateUnreadable`."""
        found = self._file(identity).load() if _NAME.fullmatch(identity) else None
        if found is None:
            remedy = "`aiidpctl bench upgrades` lists those there are"
            raise NotFound("read upgrade", identity[:100], reason="there is none of this id", remedy=remedy)
        if found.outcome == "running" and found.id != self.running:
            return replace(found, outcome="interrupted", reason=_INTERRUPTED)
        return found

    def all(self) -> tuple[list[Upgrade], list[str]]:
        """Return the upgrades that can be read, the newest last, and why others can't be."""
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

    def _file(self, identity: str) -> StateFile[Upgrade]:
        return StateFile(self._path(identity), Upgrade, remedy="remove it", limit=_LIMIT)


def _order(identity: str) -> tuple[str, int]:
    stamp, _, number = identity.partition("-")
    return stamp, int(number or 1)
