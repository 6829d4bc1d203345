"""Checks of this machine that components contribute to `aiidpd doctor` (pure); they need no daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

PATIENCE: Final = 10.0
"""Seconds that a check may take, unless it says otherwise."""


class Outcome(StrEnum):
    """Outcomes of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as it should, or not for long."""
    FAILED = "failed"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the answer: what was found, and what mends it where it is not ok."""

    outcome: Outcome
    found: str
    cure: str = ""


def ok(found: str) -> CheckResult:
    """Return that something is as it should be."""
    return CheckResult(Outcome.OK, found)


def warning(found: str, cure: str) -> CheckResult:
    """Return that something should be otherwise."""
    return CheckResult(Outcome.WARNING, found, cure)


def failed(found: str, cure: str) -> CheckResult:
    """Return that something does not work."""
    return CheckResult(Outcome.FAILED, found, cure)


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, such as ``gpu-driver``, and what makes its results.

    ``run`` may block, for at most ``seconds``; what it raises is a result too.
    """

    name: str
    run: Callable[[], Iterable[CheckResult]]
    seconds: float = PATIENCE


@dataclass(frozen=True, slots=True)
class Sandbox:
    """File system as the service's unit shows it to the daemon."""

    strict: bool = False
    """Nothing may be written but what ``writable`` names (ProtectSystem=strict)."""
    homes_hidden: bool = False
    """Home folders are empty but for what ``shown`` names (ProtectHome)."""
    homes_read_only: bool = False
    writable: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    """Folders that are mounted into it (BindPaths, BindReadOnlyPaths)."""
    hidden: tuple[str, ...] = ()
    """Folders that it may not open (InaccessiblePaths)."""

    def shows(self, path: PurePosixPath) -> bool:
        """Return whether the daemon sees what lies at ``path``."""
        if _within(path, self.shown):
            return True
        if _within(path, self.hidden):
            return False
        return not (self.homes_hidden and _within(path, HOMES))

    def may_write(self, path: PurePosixPath) -> bool:
        """Return whether the sandbox lets the daemon write below ``path``; rights are another matter."""
        if _within(path, self.writable):
            return self.shows(path)
        return not self.strict and self.shows(path) and not (self.homes_read_only and _within(path, HOMES))


HOMES: Final = ("/home", "/root", "/run/user")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """User and sandbox that the daemon has as a service; without a unit, those of whoever calls."""

    uid: int
    groups: frozenset[int]
    user: str = ""
    """Name of the user, or its number."""
    sandbox: Sandbox | None = None
    """None where no unit is installed."""
    unit: str = ""
    """Path of the unit's file; empty where there is none."""
    described: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Settings of the unit's section Service."""

    def may(self, mode: int, uid: int, gid: int, wanted: int) -> bool:
        """Return whether the user has the rights ``wanted`` (4 read, 2 write, 1 enter) to such a file."""
        if self.uid == 0:
            return True
        if uid == self.uid:
            return mode >> 6 & wanted == wanted
        return mode >> (3 if gid in self.groups else 0) & wanted == wanted


def _within(path: PurePosixPath, folders: Iterable[str]) -> bool:
    return any(path.is_relative_to(each) for each in folders)
