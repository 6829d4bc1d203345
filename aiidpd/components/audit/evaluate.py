"""Audit of everything that is known: every rule on every subject (pure).

What was found about a container that did not change is reused while nothing around it changed either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from aiidpd.components.audit.facts import Facts, Listener, ModelFacts
from aiidpd.components.audit.finding import Finding, Report, Waiver, bounded, finding, waive
from aiidpd.components.audit.rule import Rule
from aiidpd.components.audit.rules.all import (
    BY_ID,
    CONTAINER_RULES,
    ENGINE_RULES,
    HOST_RULES,
    LISTENER_RULES,
    MODEL_RULES,
    WAIVER_RULES,
)
from aiidpd.components.audit.rules.waivers import WaiverFacts
from aiidpd.contracts.inspections import Inspection

T = TypeVar("T")
HOST: Final = "host"
ENGINE: Final = "engine"
_NEEDS: Final[Mapping[str, str]] = {
    "port-past-firewall": "firewall",
    "toolkit-old": "toolkit",
    "toolkit-legacy": "toolkit",
    "toolkit-any-container": "toolkit",
    "driver-upgraded-unattended": "upgrades",
    "engine-iptables": "daemon",
}
"""Rules that can't be judged without a part of the host's facts."""
_NO_ENGINE: Final = "the container engine was not read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Everything that is judged. ``containers`` is None where they are not known."""

    containers: Sequence[Inspection] | None = None
    listeners: Sequence[Listener] | None = None
    models: Sequence[ModelFacts] | None = None
    facts: Facts = field(default_factory=Facts)
    waivers: Sequence[Waiver] = ()
    simulated: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why containers, listeners or models are not known, by that name."""


class Auditor:
    """Judges one state after another, and remembers what it found about each container."""

    def __init__(self) -> None:
        self._facts: Facts | None = None
        self._known: dict[str, tuple[Inspection, tuple[Finding, ...]]] = {}

    def judge(self, container: Inspection, facts: Facts) -> bool:
        """Judge one container for the next audit; return whether it was new or has changed."""
        if facts is not self._facts and facts != self._facts:
            self._facts, self._known = facts, {}
        before = self._known.get(container.id)
        if before is not None and (before[0] is container or before[0] == container):
            return False
        self._known[container.id] = (container, tuple(of_container(container, facts)))
        return True

    def audit(self, subjects: Subjects) -> Report:
        """Return what all rules find."""
        facts, containers = subjects.facts, subjects.containers or ()
        for each in containers:
            self.judge(each, facts)
        known = {each.id: self._known[each.id] for each in containers}
        self._known = known
        found = [finding for _, findings in known.values() for finding in findings]
        engines = [facts.engine] if facts.engine is not None else []
        found += [
            *_judged(ENGINE_RULES, "engine", ((ENGINE, each) for each in engines), facts),
            *_judged(HOST_RULES, "host", [(HOST, facts.host)], facts),
            *_judged(
                LISTENER_RULES,
                "listener",
                ((each.container or each.name, each) for each in subjects.listeners or ()),
                facts,
            ),
            *_judged(MODEL_RULES, "model", ((each.name, each) for each in subjects.models or ()), facts),
            *_judged(
                WAIVER_RULES,
                "waiver",
                ((f"{w.rule} {w.subject}", w) for w in _waivers(subjects.waivers)),
                facts,
            ),
        ]
        return Report(
            waive(found, subjects.waivers),
            _unchecked(subjects),
            {
                "container": len(containers),
                "engine": len(engines),
                "listener": len(subjects.listeners or ()),
                "model": len(subjects.models or ()),
            },
            subjects.simulated,
        )


def of_container(container: Inspection, facts: Facts) -> Iterator[Finding]:
    """Yield what all rules find about one container, or one service of a compose file."""
    kind = "service" if container.declared else "container"
    return _judged(CONTAINER_RULES, kind, [(container.name or container.id[:12], container)], facts)


def _judged(
    rules: Iterable[Rule[T]], kind: str, subjects: Iterable[tuple[str, T]], facts: Facts
) -> Iterator[Finding]:
    rules = tuple(rules)
    for name, subject in subjects:
        for rule in rules:
            for found in bounded(rule.check(subject, facts)):
                yield finding(cast("Rule[Any]", rule), kind, name, found)


def _waivers(waivers: Iterable[Waiver]) -> Iterator[WaiverFacts]:
    for each in waivers:
        yield WaiverFacts(each.rule, each.subject, each.until, each.ended, each.rule not in BY_ID)


def _unchecked(subjects: Subjects) -> dict[str, str]:
    """Return the rules that could not be judged, each with the reason."""
    found: dict[str, str] = {}
    reasons, facts = subjects.reasons, subjects.facts
    if subjects.containers is None:
        why = reasons.get("containers", "the containers are not known")
        found |= dict.fromkeys((rule.id for rule in CONTAINER_RULES), why)
    if facts.engine is None:
        why = reasons.get("engine", _NO_ENGINE)
        found |= dict.fromkeys((rule.id for rule in ENGINE_RULES), why)
        found["port-loopback-leak"] = why
    if subjects.listeners is None:
        why = reasons.get("listeners", "the listeners of this machine are not known")
        found |= dict.fromkeys((rule.id for rule in LISTENER_RULES), why)
    if subjects.models is None:
        why = reasons.get("models", "the models on this machine are not known")
        found |= dict.fromkeys((rule.id for rule in MODEL_RULES), why)
        found["models-writable"] = why
    for rule, part in _NEEDS.items():
        if getattr(facts.host, part) is None and rule not in found:
            found[rule] = facts.host.unread.get(part, "it was not read yet")
    if facts.gpus is None:
        found.setdefault("gpu-every", "the number of GPUs is not known")
    return found
