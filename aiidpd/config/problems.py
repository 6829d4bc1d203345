"""Problems of a configuration: every one at once, each with its place and its way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiidpd.config.toml import printable
from aiidpd.kernel.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that must be changed.

    ``place`` is a file and its line, a variable or a credential; ``key`` is dotted and may be empty;
    ``value`` is as TOML writes it, None where there is none or it may be a secret.
    """

    place: str
    key: str
    reason: str
    remedy: str = ""
    value: str | None = None

    def __str__(self) -> str:
        setting = self.key if self.value is None else f"{self.key} = {self.value}"
        head = ": ".join(part for part in (self.place, setting, self.reason) if part)
        return printable(f"{head}; {self.remedy}" if self.remedy else head)


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return ``problems`` place by place, those of one file by their lines."""
    places = [_place(problem) for problem in problems]
    first = list(dict.fromkeys(file for file, _ in places))
    order = sorted(range(len(places)), key=lambda at: (first.index(places[at][0]), places[at][1]))
    return tuple(problems[at] for at in order)


def _place(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.place.rpartition(":")
    return (file, int(line)) if file and line.isdecimal() else (problem.place, 0)


class InvalidConfiguration(Misconfigured):
    """All that is wrong with a configuration, in ``problems``; the text has one line for each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        lines = "\n".join(str(problem) for problem in problems)
        reason = lines if len(problems) == 1 else f"{len(problems)} problems\n{lines}"
        super().__init__("use", "the configuration", reason=reason)
