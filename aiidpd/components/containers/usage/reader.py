"""Reader of what the processes of containers use, from cgroups of version 1 and 2 and from /proc.

All of it may vanish at any moment: a figure whose file can't be read is None. Blocks; bounded in files and
bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from aiidpd.components.containers.usage import counters
from aiidpd.components.containers.usage.cgroups import UNIFIED, Groups, parse
from aiidpd.components.containers.usage.unkillable import PendingKill
from aiidpd.contracts.containers import ContainerUse

_MOST_BYTES: Final = 1 << 18
_PIECE: Final = 3800
_MOST_PROCESSES: Final = 512  # of one container
_MOST_GROUPS: Final = 64  # within one container
_MOST_THREADS: Final = 256  # of one process
_HERE: Final = ("cpu", "cpuacct", "memory", "blkio", "freezer", "pids")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """A container to read, by its first process. ``ending``: it is being stopped, killed or removed."""

    id: str
    pid: int | None
    ending: bool = False


@dataclass(frozen=True, slots=True)
class UseReading:
    """Use by one container, and its processes that have not obeyed SIGKILL."""

    use: ContainerUse
    pending: tuple[PendingKill, ...] = ()


@dataclass(slots=True)
class _Place:
    """Folders of a container's control groups, by controller, found by its process ``pid``."""

    pid: int
    version_1: bool
    folders: dict[str, str] = field(default_factory=dict)


class UseReader:
    """Reads containers by the pids of their first processes, and remembers where their counters are.

    A container that does not run any more is read for as long as its control group exists: what is left in it
    could not be killed. ``proc`` and ``cgroups`` are where the kernel shows both.
    """

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = str(proc)
        self._cgroups = str(cgroups)
        self._places: dict[str, _Place] = {}

    def read(self, targets: Iterable[Target], now: float) -> dict[str, UseReading]:
        """Return the use by ``targets`` at ``now``; one that can't be read at all is left out."""
        found: dict[str, UseReading] = {}
        for target in targets:
            place = self._place(target)
            reading = None if place is None else self._read(target, place, now)
            if reading is not None:
                found[target.id] = reading
        return found

    def left(self, running: frozenset[str]) -> tuple[str, ...]:
        """Return those that were read before, are not ``running``, and still have a control group."""
        gone = [identity for identity in self._places if identity not in running]
        for identity in gone:
            if not os.path.isdir(_first(self._places[identity])):  # noqa: PTH112 -- of each, in each pass
                del self._places[identity]
        return tuple(identity for identity in gone if identity in self._places)

    def _place(self, target: Target) -> _Place | None:
        known = self._places.get(target.id)
        if target.pid is None or (known is not None and known.pid == target.pid):
            return known
        groups = parse(self._text(f"{self._proc}/{target.pid}/cgroup") or "").of_container(target.id)
        place = _Place(target.pid, groups.version_1, self._folders(groups))
        if place.folders:
            self._places[target.id] = place
        return place if place.folders else None

    def _folders(self, groups: Groups) -> dict[str, str]:
        root = self._cgroups
        if not groups.version_1:
            path = groups.paths.get(UNIFIED)
            return {} if path is None else {UNIFIED: root + path}
        return {name: f"{root}/{name}{groups.paths[name]}" for name in _HERE if name in groups.paths}

    def _read(self, target: Target, place: _Place, now: float) -> UseReading | None:
        if not os.path.isdir(_first(place)):  # noqa: PTH112 -- of each, in each pass
            return None
        use = (
            self._counted_1(target.id, place, now)
            if place.version_1
            else self._counted_2(target.id, place, now)
        )
        pids = self._pids(_first(place))
        blocked: set[int] = set()
        pending: list[PendingKill] = []
        for pid in pids:
            found = counters.process(self._text(f"{self._proc}/{pid}/stat"))
            if found is None:
                continue
            if found.state == "D" and not use.frozen:
                blocked.add(pid)
            if not use.frozen and (target.ending or found.state in "DZ"):
                pending.extend(self._pending(pid))
        shown = replace(use, pids=frozenset(pids), blocked=frozenset(blocked))
        return UseReading(shown, tuple(pending))

    def _counted_2(self, identity: str, place: _Place, now: float) -> ContainerUse:
        folder = place.folders[UNIFIED]
        memory = self._text(f"{folder}/memory.stat")
        moved = counters.block_io_v2(self._text(f"{folder}/io.stat"))
        return ContainerUse(
            identity,
            now,
            cpu_seconds=counters.cpu_seconds_v2(self._text(f"{folder}/cpu.stat")),
            memory_bytes=counters.keyed(memory, "anon"),
            memory_limit_bytes=counters.limit(self._text(f"{folder}/memory.max")),
            read_bytes=moved[0] if moved else None,
            written_bytes=moved[1] if moved else None,
            oom_kills=counters.keyed(self._text(f"{folder}/memory.events"), "oom_kill"),
            frozen=counters.keyed(self._text(f"{folder}/cgroup.events"), "frozen") == 1,
        )

    def _counted_1(self, identity: str, place: _Place, now: float) -> ContainerUse:
        def text(controller: str, name: str) -> str | None:
            folder = place.folders.get(controller)
            return None if folder is None else self._text(f"{folder}/{name}")

        memory = text("memory", "memory.stat")
        moved = counters.block_io_v1(
            text("blkio", "blkio.throttle.io_service_bytes_recursive")
            or text("blkio", "blkio.throttle.io_service_bytes")
        )
        return ContainerUse(
            identity,
            now,
            cpu_seconds=counters.cpu_seconds_v1(text("cpuacct", "cpuacct.usage")),
            memory_bytes=counters.keyed(memory, "total_rss", "rss"),
            memory_limit_bytes=counters.limit(text("memory", "memory.limit_in_bytes")),
            read_bytes=moved[0] if moved else None,
            written_bytes=moved[1] if moved else None,
            oom_kills=counters.keyed(text("memory", "memory.oom_control"), "oom_kill"),
            frozen=(text("freezer", "freezer.state") or "").strip() in ("FROZEN", "FREEZING"),
        )

    def _pids(self, folder: str) -> list[int]:
        """Return the processes of a group and of those within it."""
        found: list[int] = []
        folders = [folder]
        for _ in range(_MOST_GROUPS):
            if not folders or len(found) >= _MOST_PROCESSES:
                break
            here = folders.pop()
            found += counters.pids(self._text(f"{here}/cgroup.procs"))
            with suppress(OSError), os.scandir(here) as entries:
                folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        return found[:_MOST_PROCESSES]

    def _pending(self, pid: int) -> list[PendingKill]:
        """Return the threads of ``pid`` that wait or run inside of the kernel and have a SIGKILL pending."""
        found = []
        threads: list[str] = []
        with suppress(OSError):
            threads = os.listdir(f"{self._proc}/{pid}/task")[:_MOST_THREADS]  # noqa: PTH208 -- as above
        for thread in threads:
            base = f"{self._proc}/{pid}/task/{thread}"
            stat = counters.process(self._text(f"{base}/stat"))
            if stat is None or stat.state not in "DR":
                continue
            if counters.kill_pending(self._text(f"{base}/status")):
                wchan = (self._text(f"{base}/wchan") or "").strip()
                found.append(
                    PendingKill(stat.pid, stat.started, stat.state, "" if wchan == "0" else wchan[:64])
                )
        return found

    def host_available_bytes(self) -> int | None:
        """Return how much memory the host can still give."""
        return counters.kilobytes(self._text(f"{self._proc}/meminfo"), "MemAvailable")

    def processes(self, identity: str, pids: Iterable[int], now: float) -> ContainerUse:
        """Return the use by processes that are in no control group of their own, as far as /proc has it.

        It is a sum over those that exist: one that ended takes what it used with it.
        """
        ticks: list[int] = []
        memory: list[int] = []
        moved: list[tuple[int, int]] = []
        seen: set[int] = set()
        blocked: set[int] = set()
        for pid in pids:
            stat = counters.process(self._text(f"{self._proc}/{pid}/stat"))
            if stat is None:
                continue
            seen.add(pid)
            ticks.append(stat.cpu_ticks)
            if stat.state == "D":
                blocked.add(pid)
            resident = counters.kilobytes(self._text(f"{self._proc}/{pid}/status"), "RssAnon")
            if resident is not None:
                memory.append(resident)
            text = self._text(f"{self._proc}/{pid}/io")
            read = counters.keyed(text, "read_bytes:")
            written = counters.keyed(text, "write_bytes:")
            if read is not None and written is not None:
                moved.append((read, written))
        complete = bool(seen) and len(moved) == len(seen)
        return ContainerUse(
            identity,
            now,
            frozenset(seen),
            frozenset(blocked),
            cpu_seconds=sum(ticks) / _TICKS if seen else None,
            memory_bytes=sum(memory) if memory else None,
            read_bytes=sum(each[0] for each in moved) if complete else None,
            written_bytes=sum(each[1] for each in moved) if complete else None,
        )

    @staticmethod
    def _text(path: str) -> str | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return None
        try:
            data = os.read(descriptor, _MOST_BYTES)
            # A list of processes comes in pieces of a page; what is shorter came whole.
            while _PIECE <= len(data) < _MOST_BYTES and (more := os.read(descriptor, _MOST_BYTES)):
                data += more
            return data.decode(errors="replace")
        except OSError:
            return None
        finally:
            os.close(descriptor)


def _first(place: _Place) -> str:
    return place.folders.get("memory") or next(iter(place.folders.values()))
