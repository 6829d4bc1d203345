"""Healing policy of a container: its labels win over rules, and rules over the defaults (pure).

A label that can't be understood makes the whole policy ``notify``: a person who wrote one meant something,
and to guess it could restart what must not be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import HealRule, HealSettings
from aiidpd.config.units import Malformed, parse_budget, parse_duration, parse_hours

LABELS: Final = "aiidpd."
MOST_DEPENDENCIES: Final = 32
LONGEST_LABEL: Final = 2000  # characters: so many as the names of the most dependencies may have
_SHOWN: Final = 40  # characters of a wrong value in a message
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


class HealMode(StrEnum):
    """Acts that a container allows."""

    RESTART = "restart"
    RECREATE = "recreate"  # restarts too
    NOTIFY = "notify"
    OFF = "off"

    @property
    def acts(self) -> bool:
        """True where a heal is allowed."""
        return self in (HealMode.RESTART, HealMode.RECREATE)


@dataclass(frozen=True, slots=True)
class Budget:
    """Heals, and ends that nobody asked for, that are allowed within ``window`` seconds."""

    often: int
    window: float


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of the day in minutes since midnight; they may reach over it."""

    begin: int
    end: int

    def contain(self, minute: int) -> bool:
        """Return whether ``minute`` lies in them."""
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        begin, end = (f"{at // 60:02}:{at % 60:02}" for at in (self.begin, self.end))
        return f"{begin}-{end}"


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """A label that can't be understood, and why."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class HealPolicy:
    """Healing of one container. Durations in seconds.

    ``origin`` names what decided the mode: a label, a rule or the default.
    """

    mode: HealMode
    budget: Budget
    grace: float
    drain: float
    stop_grace: float
    depends_on: tuple[str, ...] = ()
    follow_restarts: bool = False
    quiet_hours: Hours | None = None
    origin: str = "default"
    problems: tuple[LabelProblem, ...] = field(default=())


def policy_of(reading: ContainerReading, settings: HealSettings) -> HealPolicy:
    """Return the policy of the container of ``reading``."""
    place, rule = next(
        ((place, rule) for place, rule in enumerate(settings.rules) if _matches(rule, reading)), (0, None)
    )
    values = _configured(settings, rule)
    origin = f"containers.heal.rules[{place}]" if rule is not None and rule.mode else "default"
    problems: list[LabelProblem] = []
    for label, (name, parse) in _PARSERS.items():
        text = reading.labels.get(label)
        if text is None:
            continue
        try:
            values[name] = parse(_bounded(text))
        except Malformed as error:
            remedy = f"; {error.remedy}" if error.remedy else ""
            problems.append(LabelProblem(label, f"{_shown(text)} {error.reason}{remedy}"))
        else:
            origin = f"label {label}" if name == "mode" else origin
    if problems:
        values["mode"] = HealMode.NOTIFY
        origin = f"label {problems[0].label} can't be understood"
    return HealPolicy(**values, origin=origin, problems=tuple(problems))


def _configured(settings: HealSettings, rule: HealRule | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mode": HealMode(settings.mode),
        "budget": Budget(*parse_budget(settings.budget)),
        "grace": settings.grace,
        "drain": settings.drain,
        "stop_grace": settings.stop_grace,
        "quiet_hours": _hours(settings.quiet_hours),
    }
    if rule is None:
        return found
    if rule.mode:
        found["mode"] = HealMode(rule.mode)
    if rule.budget:
        found["budget"] = Budget(*parse_budget(rule.budget))
    if rule.quiet_hours:
        found["quiet_hours"] = _hours(rule.quiet_hours)
    for name in ("grace", "drain", "stop_grace"):
        if (value := getattr(rule, name)) is not None:
            found[name] = value
    return found | {"depends_on": rule.depends_on, "follow_restarts": rule.follow_restarts}


def _matches(rule: HealRule, reading: ContainerReading) -> bool:
    pairs = ((rule.container, reading.name), (rule.project, reading.project), (rule.service, reading.service))
    return all(not pattern or fnmatchcase(text, pattern) for pattern, text in pairs)


def _bounded(text: str) -> str:
    if len(text) > LONGEST_LABEL:
        raise Malformed(f"is {len(text)} characters long, more than {LONGEST_LABEL}")
    return text


def _shown(text: str) -> str:
    """Return a wrong value as one short line that can't steer a terminal."""
    cut = text[:_SHOWN]
    return repr(cut) + ("..." if len(text) > _SHOWN else "")


def _mode(text: str) -> HealMode:
    try:
        return HealMode(text.strip())
    except ValueError:
        raise Malformed("is no mode", "write restart, recreate, notify or off") from None


def _budget(text: str) -> Budget:
    return Budget(*parse_budget(text.strip()))


def _duration(most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        seconds = parse_duration(text.strip())
        if seconds > most:
            raise Malformed(f"is longer than {most:g} s")
        return seconds

    return parse


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    if len(names) > MOST_DEPENDENCIES:
        raise Malformed(f"names {len(names)} containers, more than {MOST_DEPENDENCIES}")
    if wrong := next((each for each in names if not _NAME.fullmatch(each)), None):
        raise Malformed(f"names {_shown(wrong)}, which can't be a container", 'write it as "name,name"')
    return names


def _flag(text: str) -> bool:
    known: Mapping[str, bool] = {"true": True, "false": False}
    if (found := known.get(text.strip())) is None:
        raise Malformed("is neither true nor false")
    return found


def _hours(text: str) -> Hours | None:
    found = parse_hours(text.strip())
    return None if found is None else Hours(*found)


_PARSERS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    f"{LABELS}heal": ("mode", _mode),
    f"{LABELS}budget": ("budget", _budget),
    f"{LABELS}grace": ("grace", _duration(86_400)),
    f"{LABELS}drain": ("drain", _duration(3600)),
    f"{LABELS}stop-grace": ("stop_grace", _duration(600)),
    f"{LABELS}depends-on": ("depends_on", _names),
    f"{LABELS}follow-restarts": ("follow_restarts", _flag),
    f"{LABELS}quiet-hours": ("quiet_hours", _hours),
}
