"""Rules of an audit and what they find (pure).

A rule is one function and its row. It gets one subject (a container, the engine, the machine, a listener, a
model) and the facts around it, and yields what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeAlias, TypeVar

from aiidpd.components.audit.facts import Facts

T = TypeVar("T")
Value: TypeAlias = str | int | bool | tuple[str, ...]


class Level(IntEnum):
    """Severity of a finding."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """Name in documents, metrics and options."""
        return self.name.lower()


LEVELS: Final = {each.word: each for each in Level}


@dataclass(frozen=True, slots=True)
class Edit:
    """Change of a service of a compose file, at ``path`` below the service.

    Without ``item`` the key is set to ``value``, or removed where that is None. With it, ``path`` is a list:
    ``value`` is appended, or put in the place of the entry ``old``; without a value that entry is removed.
    """

    path: tuple[str, ...]
    value: Value | None = None
    item: bool = False
    old: str = ""


def put(path: str, value: Value) -> Edit:
    """Return the edit that sets the dotted ``path``."""
    return Edit(tuple(path.split(".")), value)


def drop(path: str) -> Edit:
    """Return the edit that removes the dotted ``path``."""
    return Edit(tuple(path.split(".")))


def add(path: str, value: str) -> Edit:
    """Return the edit that appends ``value`` to the list at ``path``."""
    return Edit(tuple(path.split(".")), value, item=True)


def swap(path: str, old: str, value: str | None) -> Edit:
    """Return the edit that replaces the entry ``old`` of the list at ``path``, or removes it."""
    return Edit(tuple(path.split(".")), value, item=True, old=old)


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a rule found. ``where`` is the key of a compose file, or a place on the machine.

    ``edits`` mend it in a compose file; ``guess``: a person must choose the value. ``severity`` and
    ``remedy`` are the rule's own where they are not given.
    """

    what: str
    where: str = ""
    edits: tuple[Edit, ...] = ()
    guess: bool = False
    severity: Level | None = None
    remedy: str = ""


Check: TypeAlias = Callable[[T, Facts], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One rule. ``cis`` is its number in the CIS Docker Benchmark 1.6, empty where it has none."""

    id: str
    severity: Level
    title: str
    why: str
    remedy: str
    cis: str
    check: Check[T]


def rule(
    identity: str, severity: Level, title: str, *, why: str, remedy: str, cis: str = ""
) -> Callable[[Check[T]], Rule[T]]:
    """Return what makes a function the rule ``identity``."""

    def made(check: Check[T]) -> Rule[T]:
        return Rule(identity, severity, title, why, remedy, cis, check)

    return made
