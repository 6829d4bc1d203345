"""Keeps what stands over a restart of the daemon: ``kill -9`` included, and never at the loop's expense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.alerts.codec import decode, encode
from aiidpd.alerts.record import AlertRecord
from aiidpd.alerts.state import Change
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Severity
from aiidpd.platform.statefile import JsonFile

CODE: Final = "alert_state"
_GRAVE = frozenset({Change.FIRING, Change.RESOLVED, Change.EXPIRED})  # what must not be told a second time
_SOON = 5.0  # seconds: a condition that comes and goes is not worth a write each time
_EVERY = 60.0  # seconds: how long ago an alert was last known may be off by that after a kill


class AlertStore:
    """Writes the alerts that stand into ``file``, and reads there what stood before.

    A beginning or an end is written at once, anything else within 5 s, and what stands once a minute so that
    its age is known. A file that can't be read is set aside and nothing stood: a finding says so until the
    next write. Reading blocks; it is done here, once.
    """

    def __init__(self, file: JsonFile, clock: Clock, health: Conditions, *, boot: str = "") -> None:
        self._file = file
        self._clock = clock
        self._health = health
        self.boot = boot
        self._dirty = self._grave = False
        self._saved_at = clock.monotonic()
        self._problem = ""
        self._unread, self._waiting = "", list[AlertRecord]()
        try:
            data = file.read()
            self._waiting = [] if data is None else list(decode(data))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            self._unread = self._refuse(error)
            self._dirty = True
        self._tell()

    def take(self, source: str) -> list[AlertRecord]:
        """Return what stood of ``source``, once."""
        mine = [each for each in self._waiting if each.source == source]
        self._waiting = [each for each in self._waiting if each.source != source]
        return mine

    def note(self, change: Change) -> None:
        """Take that ``change`` was told."""
        self._dirty = True
        self._grave = self._grave or change in _GRAVE

    def look(self, standing: Callable[[], list[AlertRecord]]) -> None:
        """Have written what is ``standing`` where that is due."""
        age = self._clock.monotonic() - self._saved_at
        if self._grave or (self._dirty and age >= _SOON):
            self.save(standing())
        elif age >= _EVERY:
            alerts = standing()
            if alerts or self._file.problem:
                self.save(alerts)
        self._tell()

    def save(self, standing: list[AlertRecord]) -> None:
        """Have ``standing`` written in the background."""
        self._dirty = self._grave = False
        self._saved_at, self._unread = self._clock.monotonic(), ""
        self._file.write(encode([*standing, *self._waiting]))

    def wait(self, seconds: float) -> None:
        """Wait for a write that is under way, at most ``seconds``."""
        self._file.wait(seconds)

    def _refuse(self, error: Exception) -> str:
        problem = (
            f"cannot read {self._file.path}: {describe(error)}; what fired before the restart is not known"
        )
        try:
            self._file.set_aside()
        except OSError as fault:
            return f"{problem}, and the file cannot be set aside: {describe(fault)}"
        return f"{problem}, and the file is kept as {self._file.path.name}.unreadable"

    def _tell(self) -> None:
        failed = self._file.problem
        problem = f"{failed}; what fires now is forgotten at a restart" if failed else self._unread
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            remedy = "free space or repair the disk; it is written again within a minute"
            self._health.report(CODE, "", severity=Severity.WARNING, reason=problem, remedy=remedy)
        else:
            self._health.clear(CODE, "")
