"""The life of a simulated container: a script, which stands still while it is paused (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import floor, inf
from typing import Final

PERIOD: Final = 360.0
"""Seconds after which the script begins again: so many that its deaths are no restart loop."""

STOPPED_CODE: Final = 143  # SIGTERM's


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the script: what happens ``offset`` seconds into each period."""

    offset: float
    action: str
    detail: str = ""
    exit_code: int | None = None


_STOP = (Line(0.0, "kill", "15"), Line(0.0, "die", exit_code=STOPPED_CODE))
_PAUSE, _UNPAUSE = Line(0.0, "pause"), Line(0.0, "unpause")


def script(number: int) -> tuple[Line, ...]:
    """Return what happens to container ``number``: one hangs a while, one dies, one is well."""
    late = number * 3 % 100
    if number % 3 == 0:
        return (
            Line(60.0 + late, "health_status", "unhealthy"),
            Line(80.0 + late, "health_status", "healthy"),
        )
    if number % 3 == 1:
        return (Line(90.0 + late, "die", exit_code=1), Line(95.0 + late, "start"))
    return ()


@dataclass(slots=True)
class Life:
    """One container by the seconds since the simulation began: its script, its pauses, its stop."""

    lines: tuple[Line, ...]
    pauses: list[tuple[float, float]] = field(default_factory=list)
    stopped: float = inf

    @property
    def paused(self) -> bool:
        """Whether it is paused now."""
        return bool(self.pauses) and self.pauses[-1][1] == inf

    def pause(self, at: float) -> None:
        """Stand still from ``at`` on."""
        self.pauses.append((at, inf))

    def go_on(self, at: float) -> None:
        """Go on at ``at``, where it stands still."""
        if self.paused:
            self.pauses[-1] = (self.pauses[-1][0], at)

    def stop(self, at: float) -> None:
        """End at ``at``; from then on nothing happens."""
        self.go_on(at)
        self.stopped = at

    def past(self, elapsed: float) -> Iterator[tuple[float, Line]]:
        """Yield what happened by the script in this period and the one before, each with its moment."""
        lived = self._lived(elapsed)
        turns = floor(lived / PERIOD)
        for turn in range(max(0, turns - 1), turns + 1):
            for line in self.lines:
                if PERIOD * turn + line.offset <= lived:
                    yield self._moment(PERIOD * turn + line.offset), line

    def restarts(self, elapsed: float) -> int:
        """Return how often it was started again."""
        starts = [line.offset for line in self.lines if line.action == "start"]
        return sum(max(0, 1 + floor((self._lived(elapsed) - offset) / PERIOD)) for offset in starts)

    def after(self, moment: float, *, inclusive: bool) -> Iterator[tuple[float, Line]]:
        """Yield the next time of each thing that happens, those at ``moment`` itself where ``inclusive``."""

        def counts(at: float) -> bool:
            return at > moment or (inclusive and at == moment)

        lived = self._lived(moment)
        for line in self.lines:
            period = max(0, floor((lived - line.offset) / PERIOD))
            moments = (self._moment(line.offset + PERIOD * turn) for turn in range(period, period + 3))
            at = next(each for each in moments if counts(each) or each == inf)
            if at <= self.stopped and at != inf:
                yield at, line
        for begin, end in self.pauses:
            if counts(begin):
                yield begin, _PAUSE
            if end not in (inf, self.stopped) and counts(end):
                yield end, _UNPAUSE
        if self.stopped != inf and counts(self.stopped):
            yield from ((self.stopped, line) for line in _STOP)

    def _lived(self, elapsed: float) -> float:
        until = min(elapsed, self.stopped)
        return until - sum(max(0.0, min(end, until) - begin) for begin, end in self.pauses)

    def _moment(self, lived: float) -> float:
        """Return when it has lived for ``lived`` seconds; infinity where it stands still before that."""
        for begin, end in self.pauses:
            if lived > begin:
                lived += end - begin
        return lived
