"""What a GPU was like before we changed it, on disk: so that it is put back whatever becomes of us.

The file is written, durably, before the first change of a GPU, and loses that GPU when a reading has shown
that it is back at its baseline. So a file that is there says that a GPU may not be as we found it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from aiidpd.components.thermal.commands import Command, ResetClocks, SetPowerLimit
from aiidpd.kernel.errors import AiidpdError, describe
from aiidpd.platform.boot import current_boot
from aiidpd.platform.lease import JournalStore, duration

NAME: Final = "governor.lease.json"
_VERSION = 1
_MOST_WATTS = 100_000.0


class JournalUnusable(AiidpdError):
    """There is a lease, and it can't be read or makes no sense: what the GPUs were like is not known."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What one GPU was like. ``power_limit_watts`` is None where its limit was never changed.

    ``clocks`` is whether its clocks were locked, or may have been. What is left of a ``simulated`` GPU
    ended with the process that simulated it.
    """

    index: int
    name: str
    power_limit_watts: float | None
    clocks: bool = False
    simulated: bool = False

    def commands(self, uuid: str) -> tuple[Command, ...]:
        """Return what puts the GPU back."""
        todo: list[Command] = []
        if self.power_limit_watts is not None:
            todo.append(SetPowerLimit(uuid, self.power_limit_watts))
        if self.clocks:
            todo.append(ResetClocks(uuid))
        return tuple(todo)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The GPUs, by UUID, that may not be at their baseline; from which boot, by whom, since when (Unix).

    ``call_timeout`` is how many seconds a call to the driver may take: what restoring needs of the
    configuration. None where the lease does not say, as those of earlier versions.
    """

    boot_id: str
    pid: int
    written_at: float
    gpus: Mapping[str, Baseline]
    call_timeout: float | None = None


_NONE = JournalEntry("", 0, 0.0, MappingProxyType({}))


class RestoreJournal:
    """The lease at ``path``. :meth:`read` and :meth:`write` block on the disk.

    ``call_timeout`` is written down with it.
    """

    def __init__(self, path: Path, boot_id: str | None = None, call_timeout: float | None = None) -> None:
        self.path = path
        self.call_timeout = call_timeout
        self.boot_id = current_boot() if boot_id is None else boot_id
        self._store = JournalStore(path)

    def read(self) -> JournalEntry:
        """Return the lease, an empty one where there is no file. Raises :class:`JournalUnusable`."""
        try:
            content = self._store.read()
            return _NONE if content is None else _decode(content)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise self._unusable(describe(error)) from error

    def stale(self, lease: JournalEntry) -> bool:
        """Whether ``lease`` is from another boot: the driver has forgotten what was set then."""
        return lease.boot_id != self.boot_id

    def write(self, gpus: Mapping[str, Baseline]) -> None:
        """Make the lease name ``gpus``; it is on the disk when this returns. Raises :class:`OSError`."""
        self.writing(gpus)()

    def writing(self, gpus: Mapping[str, Baseline]) -> Callable[[], None]:
        """Return a :meth:`write` for a thread to carry out; one that is overtaken does nothing."""
        if not gpus:
            return self._store.writing(None)
        content: dict[str, Any] = {
            "version": _VERSION,
            "boot_id": self.boot_id,
            "pid": os.getpid(),
            "written_at": round(time.time(), 3),
            "gpus": {uuid: asdict(baseline) for uuid, baseline in gpus.items()},
        }
        if self.call_timeout is not None:
            content["call_timeout"] = self.call_timeout
        return self._store.writing(json.dumps(content, indent=1).encode() + b"\n")

    def _unusable(self, reason: str) -> JournalUnusable:
        return JournalUnusable(
            "use",
            str(self.path),
            reason=reason,
            remedy="see with `nvidia-smi -q -d POWER` which limits hold; "
            "`aiidpd restore-gpus --to-default` gives every GPU its default limit and unlocked clocks, "
            "and removes this file",
        )


def _decode(content: bytes) -> JournalEntry:
    lease = json.loads(content)
    if lease["version"] != _VERSION:
        raise ValueError(f"it has version {lease['version']!r}, not {_VERSION}")
    gpus = {_text(uuid): _baseline(baseline) for uuid, baseline in lease["gpus"].items()}
    written_at = float(lease["written_at"])
    boot_id, pid, timeout = _text(lease["boot_id"]), int(lease["pid"]), duration(lease.get("call_timeout"))
    return JournalEntry(boot_id, pid, written_at, MappingProxyType(gpus), timeout)


def _baseline(baseline: dict[str, Any]) -> Baseline:
    watts, clocks, simulated = baseline["power_limit_watts"], baseline["clocks"], baseline["simulated"]
    if watts is not None and (isinstance(watts, bool) or not 0 < float(watts) < _MOST_WATTS):
        raise ValueError(f"a power limit of {watts!r} W can't be")
    if not isinstance(clocks, bool) or not isinstance(simulated, bool):
        raise TypeError("clocks and simulated must be true or false")
    return Baseline(
        index=int(baseline["index"]),
        name=_text(baseline["name"]),
        power_limit_watts=None if watts is None else float(watts),
        clocks=clocks,
        simulated=simulated,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text belongs")
    return value
