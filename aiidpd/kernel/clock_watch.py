"""Watches the wall clock for jumps, for whoever deletes by age, and sets a condition about them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Final

from aiidpd.kernel import clock_jumps
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.clock_jumps import ClockPolicy, ClockState, Jump
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher

SOURCE: Final = "clock"
CONDITION: Final = "clock_jump"
_TRIES: Final = 3
_AT_ONCE: Final = 0.5  # seconds


class ClockWatch:
    """Follows ``clock`` from the start of the process on; one for all its threads."""

    def __init__(self, clock: Clock, policy: ClockPolicy | None = None) -> None:
        self.policy = policy or ClockPolicy()
        self._clock = clock
        self._lock = threading.Lock()
        self._state = clock_jumps.begin(*self._read())

    def observe(self) -> ClockState:
        """Read the clocks and return what follows."""
        with self._lock:
            wall, boot = self._read()
            self._state = clock_jumps.step(self._state, wall, boot, self.policy)
            return self._state

    def _read(self) -> tuple[float, float]:
        """Return both clocks, read at one moment: a process that is stopped in between has seen no jump."""
        for _ in range(_TRIES):
            before, wall, boot = self._clock.boottime(), self._clock.time(), self._clock.boottime()
            if boot - before < _AT_ONCE:
                break
        return wall, boot

    def cut(self, age: float) -> float | None:
        """Return the Unix time before which stamps are older than ``age`` seconds; None: none surely is."""
        return clock_jumps.cut(self.observe(), age)


class ClockReporter:
    """Publishes what ``watch`` sees, and sets the condition; :meth:`report` is for each turn of a loop."""

    def __init__(self, watch: ClockWatch, publish: Publisher, conditions: Conditions) -> None:
        self._watch = watch
        self._publish = publish
        self._conditions = conditions
        self._reported: Jump | None = None

    def report(self) -> None:
        """Bring the condition up to date and publish what has happened to the clock."""
        state = self._watch.observe()
        if state.jump is self._reported:
            return
        jump, before = state.jump, self._reported
        self._reported = jump
        if jump is not None:
            reason = (
                f"the wall clock jumped {_span(jump.seconds)}, from {_moment(jump.to - jump.seconds)} to "
                f"{_moment(jump.to)}; nothing is deleted for its age until it is back or was steady for "
                f"{_length(self._watch.policy.steady)}"
            )
            self._publish.event(
                "clock.jumped", reason, severity=Severity.WARNING, seconds=round(jump.seconds, 3)
            )
            condition = Condition(
                CONDITION,
                "",
                Severity.WARNING,
                f"{reason}; it is {_length(abs(state.off))} {_side(state.off)} where it was",
                remedy="see `timedatectl`, and `journalctl -u systemd-timesyncd -u chrony` for who set it",
                source=SOURCE,
            )
            self._conditions.set(condition, announce=False)
        elif before is not None:
            self._conditions.clear(CONDITION, "", announce=False)
            self._publish.event("clock.steady", "the wall clock is trusted again")


def _span(seconds: float) -> str:
    return f"{'ahead' if seconds > 0 else 'back'} by {_length(abs(seconds))}"


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # a clock can be set to any year
        return f"{at:.0f} s"


def _side(seconds: float) -> str:
    return "ahead of" if seconds > 0 else "behind"


def _length(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
