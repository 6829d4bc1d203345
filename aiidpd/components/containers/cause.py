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
    KERNEL = "kernel"  # out of memory, by the runtime's claim and the kernel's counter
    RUNTIME = "runtime"  # it could not be started
    UNKNOWN = "unknown"  # killed by nobody that could be observed


def unknown_kills(_identity: str, _started: float) -> int | None:
    """Return that no counter of kills is known."""
    return None


def no_kills(_at: float) -> int:
    """Return that the kernel killed nothing."""
    return 0


def no_act(_identity: str) -> str:
    """Return that aiidpd did nothing."""
    return ""


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Facts about a container that its runtime does not know.

    ``oom_kills(id, started)`` counts the processes of the run that started then which the kernel was seen to
    have killed for memory, None where that is not known. ``machine_oom_kills(at)`` counts those of the whole
    machine about that moment. ``acted(id)`` is what aiidpd itself does to it now or did just before, in
    words; empty for nothing. Stamps are in Unix seconds.
    """

    oom_kills: Callable[[str, float], int | None] = unknown_kills
    machine_oom_kills: Callable[[float], int] = no_kills
    acted: Callable[[str], str] = no_act


def cause(code: int | None, *, signal: str, oom_claimed: bool, oom_kills: int, acted: str) -> Cause:
    """Return who ended a run with exit ``code``.

    ``signal`` is the one that the runtime was requested to send. A 137 alone proves no lack of memory, since
    systemd and people send SIGKILL too. Nor does the runtime's claim about this moment, since removing a
    control group brings one about on some kernels: the kernel itself must have counted ``oom_kills`` then.
    """
    if acted:
        return Cause.AIIDPD
    if signal:
        return Cause.REQUEST
    if code == KILLED or code is None:
        return Cause.KERNEL if oom_claimed and oom_kills else Cause.UNKNOWN
    return Cause.ITSELF
