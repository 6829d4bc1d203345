"""Processes that do not die of SIGKILL (pure).

A process that was sent SIGKILL and has it pending still, in state D (it waits inside of the kernel) or R
(it runs there, in a driver), obeys it when the kernel returns: mostly never, and nothing but a reboot ends
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

DWELL_SECONDS: Final = 60.0
"""A process that has not obeyed for so long can't be killed."""

LONGEST_GAP_SECONDS: Final = 60.0
"""One that was not read for longer is taken for another."""


@dataclass(frozen=True, slots=True)
class PendingKill:
    """A process or thread with a SIGKILL that it has not obeyed. ``wchan`` is where in the kernel it waits.

    ``started`` (ticks since the boot) tells it from a later one with the same ``pid``.
    """

    pid: int
    started: int
    state: str
    wchan: str = ""


@dataclass(frozen=True, slots=True)
class Undying:
    """A process that has not obeyed SIGKILL from ``since`` to ``seen`` (monotonic seconds)."""

    process: PendingKill
    since: float
    seen: float

    @property
    def unkillable(self) -> bool:
        """True once it has disobeyed for long enough."""
        return self.seen - self.since >= DWELL_SECONDS

    def sentence(self) -> str:
        """Return what is so, for people."""
        process = self.process
        place = f" in {process.wchan}" if process.wchan else ""
        doing = "waits inside of the kernel" if process.state == "D" else "runs inside of the kernel"
        return (
            f"its process {process.pid} has not obeyed SIGKILL for {self.seen - self.since:.0f} s: it "
            f"{doing} (state {process.state}){place}"
        )


def step(
    before: Mapping[tuple[int, int], Undying], pending: Iterable[PendingKill], now: float
) -> dict[tuple[int, int], Undying]:
    """Return the processes of one container that have not obeyed, after a reading of them at ``now``."""
    found: dict[tuple[int, int], Undying] = {}
    for each in pending:
        if each.state not in ("D", "R"):
            continue
        known = before.get((each.pid, each.started))
        fresh = known is None or now - known.seen > LONGEST_GAP_SECONDS
        since = now if known is None or fresh else known.since
        found[each.pid, each.started] = Undying(each, since, now)
    return found


def cannot_be_killed(undying: Iterable[Undying]) -> Undying | None:
    """Return the process that has disobeyed longest, where one can't be killed, else None."""
    return min((each for each in undying if each.unkillable), key=lambda each: each.since, default=None)
