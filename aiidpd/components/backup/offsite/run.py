"""One run with one repository: sent, verified, tidied; each step's result goes into the record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from aiidpd.components.backup.offsite import state
from aiidpd.components.backup.offsite.local import LocalSnapshot
from aiidpd.components.backup.offsite.repository import OffsiteFailed, Repository, Restored
from aiidpd.components.backup.offsite.result import Checked, Failure, Fault, Sent, Sign
from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.components.backup.offsite.state import RepositoryRecord
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Conflict, Unavailable

SENDING: Final = "sending"
VERIFYING: Final = "verifying"
TIDYING: Final = "removing old snapshots"
RESTORING: Final = "restoring"
CREATING: Final = "creating"

Moved = Callable[[str, Sign], None]
"""Called with the step and its progress."""


class OffsiteRun:
    """Runs with the repository of ``settings``; ``record`` is what is known of it, step by step.

    ``changed`` is called with each new record: what a step has found holds although a later one fails.
    """

    def __init__(
        self,
        settings: RepositorySettings,
        repository: Repository,
        record: RepositoryRecord,
        *,
        clock: Clock,
        moved: Moved,
        changed: Callable[[RepositoryRecord], None],
    ) -> None:
        self._settings = settings
        self._repository = repository
        self._clock = clock
        self._moved = moved
        self._changed = changed
        self.record = record
        self.sent: Sent | None = None
        self.checked: Checked | None = None

    async def execute(self, snapshot: LocalSnapshot) -> None:
        """Send ``snapshot``, verify the next part of what lies there, remove what need not stay.

        Raises :class:`Unavailable`; damage is one too. Nothing is removed from a repository that was not
        found well just now.
        """
        began = self._clock.monotonic()
        self.sent = await self._repository.send(snapshot, self._step(SENDING))
        seconds = self._clock.monotonic() - began
        self._put(state.sent(self.record, snapshot.id, self.sent, now=self._clock.time(), seconds=seconds))
        if self._settings.verify_parts:
            parts = self._settings.verify_parts
            await self.verify(snapshot, state.next_part(self.record, parts), parts)
        if not self.record.damage:
            self._step(TIDYING)(Sign())
            await self._repository.tidy()
        self._put(state.well(self.record))

    async def verify(self, snapshot: LocalSnapshot | None, part: int, parts: int) -> Checked:
        """Verify the ``part`` of ``parts``; raises OffsiteFailed where it finds damage."""
        began = self._clock.monotonic()
        found = await self._repository.check(snapshot, part, parts, self._step(VERIFYING))
        seconds = self._clock.monotonic() - began
        self.checked = found
        self._put(state.checked(self.record, found, part, parts, now=self._clock.time(), seconds=seconds))
        if found.damage:
            raise OffsiteFailed("verify", self._settings.name, Fault(Failure.DAMAGED, found.damage))
        return found

    async def create(self) -> None:
        """Make the repository."""
        self._step(CREATING)(Sign())
        await self._repository.create()
        self._put(state.well(self.record))

    async def restore(self, to: Path, snapshot: str) -> Restored:
        """Restore into the folder ``to``, which is empty or not there yet."""
        await anyio.to_thread.run_sync(_make_empty, to)
        step = self._step(RESTORING)
        step(Sign())
        return await self._repository.restore(to, step, snapshot)

    def _step(self, name: str) -> Callable[[Sign], None]:
        return lambda sign: self._moved(name, sign)

    def _put(self, record: RepositoryRecord) -> None:
        self.record = record
        self._changed(record)


def _make_empty(to: Path) -> None:
    """Make the folder ``to``; refuse one that holds something."""
    try:
        to.mkdir(exist_ok=True, mode=0o700)
        if any(to.iterdir()):
            remedy = "name an empty folder, or one that does not exist yet"
            raise Conflict("restore to", str(to), reason="it is not empty", remedy=remedy)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = (
            "name a folder that the daemon's user may make and write to (its sandbox: docs/operations.md)"
        )
        raise Unavailable("restore to", str(to), reason=reason, remedy=remedy) from error
