"""Cause of the end of a container's run: by itself, by request, by the kernel (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

KILLED: Final = 137  # 128 and SIGKILL's number


class Cause(StrEnum):
    """Causes of the end of a run."""

    ITSELF = "itself"
    REQUEST = "request"  # a person or a tool, through the runtime
    AIIDPD = "aiidpd"
    KERNEL = "kernel"  # out of memory, by the counter of its cgroup
    RUNTIME = "runtime"  # it could not be started
    UNKNOWN = "unknown"  # killed by nobody that could be observed


def unknown_kills(_identity: str) -> int | None:
    """Return that no counter of kills is known."""
    return None


def no_act(_identity: str) -> str:
    """Return that aiidpd did nothing."""
    return ""


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Facts about a container that its runtime does not know, each by the container's id.

    ``oom_kills`` counts the processes of its present or last run that the kernel killed for memory, None
    where that is not known. ``acted`` is what aiidpd itself does to it now or did just before, in words;
    empty for nothing.
    """

    oom_kills: Callable[[str], int | None] = unknown_kills
    acted: Callable[[str], str] = no_act


def cause(code: int | None, *, signal: str, oom_kills: int | None, acted: str) -> Cause:
    """Return who ended a run with exit ``code``.

    ``signal`` is the one that the runtime was requested to send, ``oom_kills`` the count of the kernel's
    kills in this run. A 137 alone proves no lack of memory, nor does the runtime's claim: systemd and
    people send SIGKILL too.
    """
    if acted:
        return Cause.AIIDPD
    if signal:
        return Cause.REQUEST
    if code == KILLED or code is None:
        if oom_kills:
            return Cause.KERNEL
        return Cause.UNKNOWN
    return Cause.ITSELF
