"""Restore journal of GPUs: the settings of each before we changed it, on disk, so that it can be restored.

It is written, durably, before the first change of a GPU, and loses that GPU when a reading has shown its
baseline again. So where the file exists a GPU may not be as we found it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.components.thermal.commands import Command, ResetClocks, SetPowerLimit
from aiidpd.platform.boot import current_boot
from aiidpd.platform.statefile import StateFile, call_seconds

NAME: Final = "governor.lease.json"
REMEDY: Final = (
    "see with `nvidia-smi -q -d POWER` which limits hold; `aiidpd restore-gpus --to-default` gives every GPU "
    "its default limit and unlocked clocks, and removes this file"
)
_MOST_WATTS = 100_000.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """Settings of one GPU before us. ``power_limit_watts`` is None where its limit was never changed.

    ``clocks``: its clocks were locked, or may have been. A ``simulated`` GPU ended with the process that
    simulated it.
    """

    index: int
    name: str
    power_limit_watts: float | None
    clocks: bool = False
    simulated: bool = False

    def validate(self) -> None:
        """Raise ValueError where no GPU can have such a limit."""
        watts = self.power_limit_watts
        if watts is not None and not 0 < watts < _MOST_WATTS:
            raise ValueError(f"a power limit of {watts!r} W can't be")

    def commands(self, uuid: str) -> tuple[Command, ...]:
        """Return the commands that restore the GPU."""
        todo: list[Command] = []
        if self.power_limit_watts is not None:
            todo.append(SetPowerLimit(uuid, self.power_limit_watts))
        if self.clocks:
            todo.append(ResetClocks(uuid))
        return tuple(todo)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """Content of the file: GPUs, by UUID, that may not be at their baseline; its boot, process and Unix time.

    ``call_timeout`` is how many seconds a call to the driver may take: what restoring needs of the
    configuration. None where the journal lacks it, as those of earlier versions do.
    """

    version: Literal[1]
    boot_id: str
    pid: int
    written_at: float
    gpus: Mapping[str, Baseline]
    call_timeout: float | None = field(default=None, metadata={"advisory": True})


class RestoreJournal:
    """Journal at ``path``. :meth:`read` and :meth:`write` block on the disk.

    ``call_timeout`` is saved with it.
    """

    def __init__(self, path: Path, boot_id: str | None = None, call_timeout: float | None = None) -> None:
        self.path = path
        self.call_timeout = call_timeout
        self.boot_id = current_boot() if boot_id is None else boot_id
        # Root may write it, by `aiidpd restore-gpus`, and the daemon has to read it then.
        self._file = StateFile(path, JournalEntry, remedy=REMEDY, indent=1, mode=0o644)

    def read(self) -> JournalEntry:
        """Return the content of the journal; it names no GPU where there is no file.

        Raises :class:`~aiidpd.platform.statefile.StateUnreadable`.
        """
        entry = self._file.load()
        if entry is None:
            return JournalEntry(1, "", 0, 0.0, MappingProxyType({}))
        return replace(entry, call_timeout=call_seconds(entry.call_timeout))

    def stale(self, entry: JournalEntry) -> bool:
        """Return whether ``entry`` is from another boot: the driver has lost what was set then."""
        return entry.boot_id != self.boot_id

    def write(self, gpus: Mapping[str, Baseline]) -> None:
        """Make the journal name ``gpus``; it is on the disk when this returns. Raises :class:`OSError`."""
        self.writing(gpus)()

    def writing(self, gpus: Mapping[str, Baseline]) -> Callable[[], None]:
        """Return a :meth:`write` for a thread to carry out; one that is overtaken does nothing."""
        if not gpus:
            return self._file.saving(None)
        written_at, named = round(time.time(), 3), MappingProxyType(dict(gpus))
        entry = JournalEntry(1, self.boot_id, os.getpid(), written_at, named, self.call_timeout)
        return self._file.saving(entry)
