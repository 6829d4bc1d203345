"""Repository: what either program does for us, and what both need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, TypeAlias

from aiidpd.components.backup.offsite.local import LocalSnapshot, Measured, measure_folder
from aiidpd.components.backup.offsite.program import Program
from aiidpd.components.backup.offsite.result import (
    REMEDIES,
    Checked,
    Ending,
    Failure,
    Fault,
    Sent,
    Sign,
    words_of,
)
from aiidpd.kernel.errors import Unavailable

Watch: TypeAlias = Callable[[Sign], None]
"""Called with the progress of a program."""

SUMS = "SHA256SUMS"


class OffsiteFailed(Unavailable):
    """A program that did not do its work; ``failure`` is the kind."""

    def __init__(self, action: str, subject: str, fault: Fault) -> None:
        self.failure = fault.failure
        remedy = REMEDIES[fault.failure].replace("NAME", subject)
        super().__init__(action, subject, reason=fault.words, remedy=remedy)


@dataclass(frozen=True, slots=True)
class Restored:
    """End of a restore: files and bytes that are there now, and how many were proven by their SHA-256."""

    files: int
    bytes: int
    proven: bool


class Repository(Protocol):
    """One repository through its program. Every method raises :class:`Unavailable`, mostly OffsiteFailed."""

    async def create(self) -> None:
        """Make the repository; refuse a place where there is something already."""

    async def send(self, snapshot: LocalSnapshot, watch: Watch) -> Sent:
        """Send ``snapshot`` and return what came of it."""

    async def check(self, snapshot: LocalSnapshot | None, part: int, parts: int, watch: Watch) -> Checked:
        """Examine what lies there, and read the ``part`` of ``parts`` back."""

    async def tidy(self) -> None:
        """Remove what the retention does not hold; for most there is none."""

    async def restore(self, to: Path, watch: Watch, snapshot: str = "") -> Restored:
        """Restore the newest, or ``snapshot``, into the empty folder ``to``, and prove it."""


class SignWatch:
    """Passes progress on to ``watch`` and finds out whether there was any."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._last: Sign | None = None

    def show(self, sign: Sign) -> bool:
        """Pass ``sign`` on; return whether it differs from the last one."""
        moved = sign != self._last
        self._last = sign
        self._watch(sign)
        return moved


def fail(action: str, name: str, failure: Failure, *words: str) -> NoReturn:
    """Raise the error for ``failure`` of the repository ``name``."""
    raise OffsiteFailed(action, name, Fault(failure, words_of(words)))


async def prove(sums: Program, folder: Path, name: str) -> Restored:
    """Check what was restored to ``folder`` by the checksums that came with it; raises OffsiteFailed."""
    measured: Measured = await measure_folder(folder)
    if not (folder / SUMS).is_file():
        return Restored(measured.files, measured.bytes, proven=False)
    ending: Ending = await sums.run(("--quiet", "--strict", "-c", SUMS), directory=folder)
    if ending.code:
        fail(
            "prove the restore from", name, Failure.DAMAGED, *ending.errors, "sha256sum -c found a difference"
        )
    return Restored(measured.files, measured.bytes, proven=True)
