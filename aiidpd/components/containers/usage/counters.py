"""Counters of a control group and states of processes, from the kernel's text (pure).

Each function returns None for a text that does not have its figure, whatever that text is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_NO_LIMIT_BYTES: Final = 1 << 62  # version 1 writes its greatest number, in whole pages, for no limit
_MOST: Final = 1 << 63
_SIGKILL: Final = 1 << 8
_NANOSECONDS: Final = 1e9
_MICROSECONDS: Final = 1e6


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One process or thread: the kernel's letter for its state, its start in ticks since the boot."""

    pid: int
    state: str
    parent: int
    cpu_ticks: int
    started: int


def number(text: str | None) -> int | None:
    """Return the count that ``text`` is, None where it is none."""
    word = (text or "").strip()
    if not word.isascii() or not word.isdecimal() or len(word) > len(str(_MOST)):
        return None
    value = int(word)
    return value if value <= _MOST else None


def keyed(text: str | None, *names: str) -> int | None:
    """Return the number of the first of ``names`` that a line ``name number`` of ``text`` has."""
    found: dict[str, str] = {}
    for line in (text or "").split("\n"):
        name, _, value = line.partition(" ")
        found.setdefault(name, value)
    numbers = (number(found.get(name)) for name in names)
    return next((each for each in numbers if each is not None), None)


def cpu_seconds_v2(stat: str | None) -> float | None:
    """Return the seconds in cpu.stat."""
    used = keyed(stat, "usage_usec")
    return None if used is None else used / _MICROSECONDS


def cpu_seconds_v1(usage: str | None) -> float | None:
    """Return the seconds in cpuacct.usage."""
    used = number(usage)
    return None if used is None else used / _NANOSECONDS


def limit(text: str | None) -> int | None:
    """Return the bytes in memory.max or memory.limit_in_bytes, None where there is no limit."""
    value = number(text)
    return None if value is None or value >= _NO_LIMIT_BYTES else value


def block_io_v2(stat: str | None) -> tuple[int, int] | None:
    """Return the bytes read and written in io.stat, over all devices."""
    if stat is None:
        return None
    read = written = 0
    for line in stat.split("\n"):
        for word in line.split()[1:]:
            name, _, value = word.partition("=")
            count = number(value) or 0
            read += count if name == "rbytes" else 0
            written += count if name == "wbytes" else 0
    return read, written


def block_io_v1(serviced: str | None) -> tuple[int, int] | None:
    """Return the bytes read and written in blkio.throttle.io_service_bytes, over all devices."""
    if serviced is None:
        return None
    read = written = 0
    for line in serviced.split("\n"):
        words = line.split()
        if len(words) == 3:  # noqa: PLR2004 -- device, operation, bytes
            count = number(words[2]) or 0
            read += count if words[1] == "Read" else 0
            written += count if words[1] == "Write" else 0
    return read, written


def pids(procs: str | None) -> list[int]:
    """Return the processes in cgroup.procs; those of another pid namespace, 0 there, are left out."""
    found = (number(line) for line in (procs or "").split("\n"))
    return [pid for pid in found if pid]


def process(stat: str | None) -> ProcessStat | None:
    """Return the process in /proc/PID/stat. Its name, in parentheses, may hold anything, parentheses too."""
    head, opening, rest = (stat or "").partition("(")
    _, closing, tail = rest.rpartition(")")
    words = tail.split()
    pid = number(head)
    if not opening or not closing or pid is None or len(words) < 20 or len(words[0]) != 1:  # noqa: PLR2004
        return None
    parent, user, system, started = (number(words[place]) for place in (1, 11, 12, 19))
    if user is None or system is None or started is None:
        return None
    return ProcessStat(pid, words[0], parent or 0, user + system, started)


def kill_pending(status: str | None) -> bool:
    """Return whether /proc/PID/status has a SIGKILL that the process has not obeyed yet."""
    for line in (status or "").split("\n"):
        name, _, mask = line.partition(":")
        if name in ("SigPnd", "ShdPnd"):
            try:
                pending = int(mask.strip(), 16)
            except ValueError:
                continue
            if pending & _SIGKILL:
                return True
    return False


def kilobytes(text: str | None, name: str) -> int | None:
    """Return the bytes of the line ``name: N kB``, as in /proc/meminfo and /proc/PID/status."""
    for line in (text or "").split("\n"):
        key, _, value = line.partition(":")
        if key == name:
            count = number(value.strip().removesuffix("kB"))
            return None if count is None else count << 10
    return None
