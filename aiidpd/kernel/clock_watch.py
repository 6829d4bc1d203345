"""Watches the wall clock for jumps, for whoever deletes by age, and raises a finding about them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Final

from aiidpd.kernel import clock_jumps
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.clock_jumps import ClockPolicy, ClockState, Jump
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Scalar, Severity

CODE: Final = "clock_jump"
_TRIES: Final = 3
_AT_ONCE: Final = 0.5  # seconds


class ClockWatch:
    """What is known of ``clock``; one for all threads of the process, from its start on."""

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
    """Turns what ``watch`` sees into events and the finding; :meth:`report` is for each turn of a loop."""

    def __init__(self, watch: ClockWatch, clock: Clock, bus: EventBus, health: Conditions) -> None:
        self._watch = watch
        self._clock = clock
        self._bus = bus
        self._health = health
        self._reported: Jump | None = None

    def report(self) -> None:
        """Bring the finding up to date and publish what has happened to the clock."""
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
            self._publish("clock.jumped", reason, Severity.WARNING, seconds=round(jump.seconds, 3))
            self._health.report(
                CODE,
                "",
                severity=Severity.WARNING,
                reason=f"{reason}; it is {_length(abs(state.off))} {_side(state.off)} where it was",
                remedy="see `timedatectl`, and `journalctl -u systemd-timesyncd -u chrony` for who set it",
                announce=False,
            )
        elif before is not None:
            self._health.clear(CODE, "", announce=False)
            self._publish("clock.steady", "the wall clock is trusted again", Severity.INFO)

    def _publish(self, kind: str, reason: str, severity: Severity, **evidence: Scalar) -> None:
        event = Event(self._clock.time(), "clock", kind, reason, severity=severity, evidence=evidence)
        self._bus.publish(event)


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
