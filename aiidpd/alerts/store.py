"""Persists active alerts across restarts, SIGKILL included. Writes in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.alerts.record import AlertRecord, AlertRecords, to_records
from aiidpd.alerts.state import Change
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from aiidpd.platform.statefile import StateFile

SOURCE: Final = "alerts"
CONDITION: Final = "alert_state"
_GRAVE = frozenset(
    {Change.FIRING, Change.RESOLVED, Change.EXPIRED}
)  # published once, and not again after a restart
_SOON = 5.0  # seconds: a condition that comes and goes is not worth a write each time
_EVERY = 60.0  # seconds: how long ago an alert was last known may be off by that after a kill


class AlertStore:
    """Active alerts in ``file``.

    A beginning or an end is written at once, anything else within 5 s, and active alerts once a minute so
    that their age is known. A file that can't be read is set aside and no alert was active: a condition
    reports that until the next write. Reading blocks; it is done here, once.
    """

    def __init__(
        self, file: StateFile[AlertRecords], clock: Clock, conditions: Conditions, *, boot: str = ""
    ) -> None:
        self._file = file
        self._clock = clock
        self._conditions = conditions
        self.boot = boot
        self._dirty = self._grave = False
        self._saved_at = clock.monotonic()
        self._problem = ""
        found, unread = file.load_or_set_aside()
        self._waiting = () if found is None else found.alerts  # of sources that did not begin yet
        self._unread = f"{unread}; what fired before the restart is not known" if unread else ""
        self._dirty = bool(unread)
        self._report()

    def take(self, source: str) -> list[AlertRecord]:
        """Return the alerts of ``source`` from before the restart, once."""
        mine = [each for each in self._waiting if each.source == source]
        self._waiting = tuple(each for each in self._waiting if each.source != source)
        return mine

    def note(self, change: Change) -> None:
        """Note that ``change`` was published."""
        self._dirty = True
        self._grave = self._grave or change in _GRAVE

    def save_due(self, active: Callable[[], list[AlertRecord]]) -> None:
        """Have the ``active`` alerts written where that is due."""
        age = self._clock.monotonic() - self._saved_at
        if self._grave or (self._dirty and age >= _SOON):
            self.save(active())
        elif age >= _EVERY:
            alerts = active()
            if alerts or self._file.problem:
                self.save(alerts)
        self._report()

    def save(self, active: list[AlertRecord]) -> None:
        """Have the ``active`` alerts written in the background, as many as a file holds."""
        self._dirty = self._grave = False
        self._saved_at, self._unread = self._clock.monotonic(), ""
        records = to_records([*active, *self._waiting])
        while not self._file.fits(records):
            records = records.halved()
        self._file.save_soon(records)

    def wait(self, seconds: float) -> None:
        """Wait for a write that is under way, at most ``seconds``."""
        self._file.wait(seconds)

    def _report(self) -> None:
        failed = self._file.problem
        problem = f"{failed}; what fires now is forgotten at a restart" if failed else self._unread
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            again = "it is written again within a minute"
            remedy = f"free space or repair the disk; {again}" if failed else again
            self._conditions.set(Condition(CONDITION, "", Severity.WARNING, problem, remedy, source=SOURCE))
        else:
            self._conditions.clear(CONDITION, "")
