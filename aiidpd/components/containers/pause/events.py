"""Events and conditions of pauses, in words that a person can act on."""

from __future__ import annotations

import time
from typing import Final

from aiidpd.components.containers.pause.state import (
    Outcome,
    Pause,
    PauseProgress,
    PauseState,
    PauseTally,
    Report,
)
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.words import lasting

SOURCE: Final = "containers"
PAUSED: Final = "container.paused"
UNPAUSED: Final = "container.unpaused"
PAUSE_FAILED: Final = "container.pause_failed"
UNPAUSE_FAILED: Final = "container.unpause_failed"
PAUSED_CONDITION: Final = "container_paused"
STUCK_CONDITION: Final = "container_unpause"
JOURNAL_CONDITION: Final = "container_pause_lease"


class PausePublisher:
    """Publishes what happens to pauses, sets a condition for each in force, and counts them in ``tally``."""

    def __init__(
        self,
        tally: PauseTally,
        publish: Publisher,
        conditions: Conditions,
        clock: Clock,
        *,
        simulated: bool,
    ) -> None:
        self._tally = tally
        self._publisher = publish.marked(simulated=simulated)
        self._conditions = conditions
        self._clock = clock
        self._simulated = simulated

    def report(self, report: Report) -> None:
        """Publish one thing that happened."""
        pause, tally = report.pause, self._tally
        match report.outcome:
            case Outcome.PAUSED:
                tally.pauses[pause.name] += 1
                reason = f"aiidpd paused it because {pause.gpu} is hot; requests to it wait ({pause.reason})"
                self._publish(PAUSED, pause, reason, Severity.WARNING)
            case Outcome.UNPAUSED | Outcome.LOST:
                tally.seconds[pause.name] = tally.seconds.get(pause.name, 0.0) + (report.seconds or 0.0)
                how = (
                    "it runs again"
                    if report.outcome is Outcome.UNPAUSED
                    else "it is no longer paused by aiidpd"
                )
                if report.seconds is None:
                    self._publish(UNPAUSED, pause, f"{how}: {report.reason}")
                else:
                    reason = f"{how} after {lasting(report.seconds)}: {report.reason}"
                    self._publish(UNPAUSED, pause, reason, paused_seconds=round(report.seconds, 3))
            case Outcome.MISSING:
                reason = (
                    "cannot pause it: there is no container of this name; correct "
                    "gpu.governor.back_off_containers"
                )
                self._publish(PAUSE_FAILED, pause, reason, Severity.WARNING)
            case Outcome.NOT_PAUSED:
                tally.failures[pause.name] += 1
                self._publish(PAUSE_FAILED, pause, f"cannot pause it: {report.reason}", Severity.WARNING)
            case Outcome.NOT_UNPAUSED:
                tally.failures[pause.name] += 1
                reason = f"cannot resume it: {report.reason}; it is tried again"
                self._publish(UNPAUSE_FAILED, pause, reason, Severity.ERROR)

    def show(self, state: PauseState) -> None:
        """Set one condition for each pause of ``state`` that is in force, and no other."""
        held = {each.pause.name: each for each in state.held.values() if each.seen}
        stuck = {name: each for name, each in held.items() if each.troubled}
        found = [
            Condition(
                PAUSED_CONDITION,
                name,
                Severity.WARNING,
                f"paused by aiidpd because {each.pause.gpu} is hot; until {self._time(each)} at the latest",
                remedy=f"requests to it wait, none is lost; `docker unpause {name}` lets it go on at once",
                source=SOURCE,
                simulated=self._simulated,
            )
            for name, each in held.items()
        ]
        found += [
            Condition(
                STUCK_CONDITION,
                name,
                Severity.ERROR,
                "it is paused by aiidpd and does not go on: see container.unpause_failed; tried again",
                remedy=f"`docker unpause {name}`; see `journalctl -u docker`",
                source=SOURCE,
                simulated=self._simulated,
            )
            for name in stuck
        ]
        self._conditions.update((PAUSED_CONDITION, STUCK_CONDITION), found, announce=False)

    def journal_failed(self, path: str, reason: str, remedy: str) -> None:
        """Set the condition that nothing is paused any more, since the journal can't be used."""
        reason = f"no container is paused: {reason}"
        self._conditions.set(
            Condition(JOURNAL_CONDITION, path, Severity.ERROR, reason, remedy, source=SOURCE)
        )

    def cannot_write(self, path: str, error: OSError) -> None:
        """Set the condition that the journal can't be written."""
        remedy = "see that the disk has room and that daemon.state_directory can be written to"
        self.journal_failed(path, f"cannot write {path}: {describe(error)}", remedy)

    def journal_works(self, path: str) -> None:
        """Clear what the two above set."""
        self._conditions.clear(JOURNAL_CONDITION, path)

    def _time(self, held: PauseProgress) -> str:
        until = self._clock.time() + held.until - self._clock.monotonic()
        return time.strftime("%H:%M:%S UTC", time.gmtime(until))

    def _publish(
        self,
        kind: str,
        pause: Pause,
        reason: str,
        severity: Severity = Severity.INFO,
        **evidence: Scalar,
    ) -> None:
        about: dict[str, Scalar] = {"id": pause.id[:12], "gpu": pause.gpu, "by": "aiidpd", **evidence}
        self._publisher.event(kind, reason, about=pause.name, severity=severity, **about)
