"""Events and conditions of heals, in words that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from aiidpd.components.containers.heal.policy import HealPolicy
from aiidpd.components.containers.heal.protocols import Recovered, Recreated
from aiidpd.components.containers.heal.state import HealState, HealTally, Outcome, Report, Topic
from aiidpd.contracts.messages import Cure
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.words import lasting

SOURCE: Final = "containers"
PARKED: Final = "container_heal_parked"
LABEL: Final = "container_heal_label_invalid"
CYCLE: Final = "container_dependency_cycle"
STATE: Final = "container_heal_state"
TYPES: Final = (PARKED, LABEL, CYCLE)
SUSPENDED: Final = "container.heal_suspended"
RESUMED: Final = "container.heal_resumed"
RECREATED: Final = "container.recreated"
RECOVERED: Final = "container.recreation_recovered"

_VERBS: Final = {Cure.RESTART: "restarted", Cure.RECREATE: "created anew"}
_GRAVE: Final = {
    Topic.HEAL_BEGAN: Severity.WARNING,
    Topic.HEAL_ENDED: Severity.INFO,
    Topic.HEAL_ADVISED: Severity.WARNING,
    Topic.HEAL_DRY_RUN: Severity.WARNING,
    Topic.HEAL_PARKED: Severity.ERROR,
    Topic.HEAL_UNPARKED: Severity.INFO,
}
_ENDS: Final = {
    Outcome.HEALED: "healed",
    Outcome.FAILED: "not healed",
    Outcome.GONE: "its heal ended",
    Outcome.INTERRUPTED: "its heal ended",
    Outcome.RECOVERED: "not touched",
    Outcome.DEFERRED: "left alone for now",
}


class HealPublisher:
    """Publishes what happens to heals, sets their conditions, and counts them in ``tally``."""

    def __init__(
        self, tally: HealTally, publish: Publisher, conditions: Conditions, *, simulated: bool
    ) -> None:
        self._tally = tally
        self._publisher = publish.marked(simulated=simulated)
        self._conditions = conditions
        self._simulated = simulated

    def report(self, report: Report) -> None:
        """Publish one thing that happened."""
        reason, severity = report.reason, _GRAVE[report.topic]
        evidence: dict[str, Scalar] = {"id": report.id[:12], "by": "aiidpd", "fault": report.fault}
        if report.cure is not None:
            evidence["cure"] = report.cure.value
        if report.topic is Topic.HEAL_BEGAN and report.cure is not None:
            reason = f"it is {_VERBS[report.cure]}, since {reason}"
        elif report.topic is Topic.HEAL_PARKED:
            self._tally.parked[report.name, report.fault] += 1
        elif report.outcome is not None:
            reason = f"{_ENDS[report.outcome]}: {reason}"
            evidence["outcome"] = report.outcome.value
            evidence["seconds"] = round(report.seconds or 0.0, 3)
            severity = Severity.ERROR if report.outcome is Outcome.FAILED else severity
            self._count(report)
        if report.remedy:
            evidence["remedy"] = report.remedy
        self._publisher.event(
            report.topic.value,
            reason,
            about=report.name,
            severity=severity,
            **{**report.evidence, **evidence},
        )

    def suspended(self, name: str, by: str, seconds: float | None) -> None:
        """Publish that a person has taken a container out of healing."""
        span = "until it is resumed" if seconds is None else f"for {lasting(seconds)}"
        self._publisher.event(SUSPENDED, f"{by} has suspended its healing {span}", about=name, by=by)

    def resumed(self, name: str, by: str) -> None:
        """Publish that a container is healed again."""
        self._publisher.event(RESUMED, f"{by} has resumed its healing", about=name, by=by)

    def recreated(self, name: str, made: Recreated) -> None:
        """Publish that a container was created anew, and in which way."""
        how = "by compose" if made.way == "compose" else "as the runtime describes it"
        reason = "; ".join(filter(None, (f"it was created anew {how}", made.notes)))
        self._publisher.event(
            RECREATED, reason, about=name, id=made.identity[:12], way=made.way, notes=made.notes
        )

    def recovered(self, recovered: Recovered) -> None:
        """Publish what became of a re-creation that was cut short."""
        severity = Severity.ERROR if recovered.problem else Severity.WARNING
        self._publisher.event(
            RECOVERED,
            recovered.words,
            about=recovered.name,
            severity=severity,
            id=recovered.identity[:12],
            recreated=recovered.recreated,
        )

    def show(
        self, state: HealState, policies: Mapping[str, HealPolicy], cycles: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Set the conditions of ``state`` and of the policies, and clear every other one."""
        self._conditions.update(TYPES, self._conditions_of(state, policies, cycles), announce=False)

    def clear(self) -> None:
        """Clear all conditions: nothing is healed any more."""
        self._conditions.update((*TYPES, STATE), (), announce=False)

    def file_failed(self, name: str, problem: str) -> None:
        """Set the condition that the state file can't be used."""
        remedy = "free space or repair the disk; it is written again with the next heal"
        self._conditions.set(Condition(STATE, name, Severity.WARNING, problem, remedy, source=SOURCE))

    def file_works(self, name: str) -> None:
        """Clear what the one above set."""
        self._conditions.clear(STATE, name)

    def _conditions_of(
        self, state: HealState, policies: Mapping[str, HealPolicy], cycles: Mapping[str, tuple[str, ...]]
    ) -> Iterator[Condition]:
        for track in state.tracks.values():
            if (parked := track.parked) is not None:
                yield self._condition(PARKED, track.name, parked.reason, parked.remedy, Severity.ERROR)
            policy = policies.get(track.id)
            if policy is not None and policy.problems:
                reason = "; ".join(f"label {each.label}: {each.reason}" for each in policy.problems)
                remedy = "correct the label and create the container anew; until then it is not healed"
                yield self._condition(LABEL, track.name, reason, remedy)
            if cycle := cycles.get(track.id):
                reason = f"it depends on itself: {' -> '.join(cycle)}"
                remedy = "take one of the dependencies out of the labels aiidpd.depends-on; it is not healed"
                yield self._condition(CYCLE, track.name, reason, remedy)

    def _condition(
        self, type_: str, name: str, reason: str, remedy: str, severity: Severity = Severity.WARNING
    ) -> Condition:
        return Condition(type_, name, severity, reason, remedy, source=SOURCE, simulated=self._simulated)

    def _count(self, report: Report) -> None:
        if report.outcome in (Outcome.RECOVERED, Outcome.DEFERRED, None):
            return  # nothing was touched
        self._tally.heals[report.name, report.fault, report.outcome.value] += 1
        self._tally.seconds[report.name] = self._tally.seconds.get(report.name, 0.0) + (report.seconds or 0.0)
