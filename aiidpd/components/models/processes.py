"""Files of models that processes have open or mapped, as far as /proc may be read."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiidpd.platform.cgroup import container_id

PROC: Final = Path("/proc")
_MOST_MAPS_BYTES: Final = 8 * 2**20
_MOST_DESCRIPTORS: Final = 4096
_LINE: Final = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ \S+ [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([1-9]\d*) +(/.*)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that a process has open. ``container`` is a full id, empty outside of others' containers."""

    identity: tuple[int, int]
    pid: int
    program: str
    container: str


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Those that were found; ``unreadable`` counts the processes whose files may not be read."""

    files: tuple[OpenFile, ...] = ()
    unreadable: int = 0


def open_files(
    wanted: Collection[tuple[int, int]], names: Collection[str], proc: Path = PROC, *, own: int | None = None
) -> OpenFiles:
    """Return who has files of ``wanted`` (device, inode) open. Blocks for a reading of all of /proc.

    ``names`` are the last parts of their paths: on file systems whose devices /proc shows otherwise (btrfs,
    overlays) inode and name decide. The process with the id ``own``, this one as a rule, does not count, nor
    does what it started: who reads models for a backup does not use them.
    """
    own = os.getpid() if own is None else own
    devices: dict[int, set[int]] = {}
    for device, inode in wanted:
        devices.setdefault(inode, set()).add(device)
    found: dict[OpenFile, None] = {}
    unreadable = 0
    around = _container(proc / "self")  # where the daemon is in a container, its neighbours are in no other
    for process in _processes(proc):
        try:
            identities = {*_mapped(process, devices, names), *_descriptors(process, set(wanted))}
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended
        except OSError:
            unreadable += 1
            continue
        if identities and not _descends(process, own):
            program, container = _program(process), _container(process)
            if container == around:
                container = ""
            for identity in identities:
                found[OpenFile(identity, int(process.name), program, container)] = None
    return OpenFiles(tuple(found), unreadable)


def _processes(proc: Path) -> Iterator[Path]:
    for process in proc.iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if (process / "cmdline").read_bytes():  # the kernel's own have none, and no files
                    yield process


def _descends(process: Path, own: int) -> bool:
    """Return True for the process with the id ``own`` and for those that it, or one of them, started."""
    pid = int(process.name)
    with suppress(OSError, ValueError, IndexError):
        while pid > 1 and pid != own:
            stat = (process.parent / str(pid) / "stat").read_bytes()
            pid = int(stat.rpartition(b")")[2].split()[1])  # a program's name may have blanks and brackets
    return pid == own


def _mapped(process: Path, devices: dict[int, set[int]], names: Collection[str]) -> Iterator[tuple[int, int]]:
    with (process / "maps").open("rb", buffering=0) as file:
        text = b"".join(iter(lambda: file.read(65536), b""))[:_MOST_MAPS_BYTES]
    for major, minor, number, path in _LINE.findall(text):
        inode = int(number)
        known = devices.get(inode)
        if known is None:
            continue
        device = os.makedev(int(major, 16), int(minor, 16))
        if device in known:
            yield device, inode
        elif os.fsdecode(path).removesuffix(" (deleted)").rpartition("/")[2] in names:
            yield min(known), inode


def _descriptors(process: Path, wanted: Collection[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    with os.scandir(process / "fd") as listing:
        for count, entry in enumerate(listing):
            if count >= _MOST_DESCRIPTORS:
                return
            with suppress(OSError):
                found = entry.stat()
                if (found.st_dev, found.st_ino) in wanted:
                    yield found.st_dev, found.st_ino


def _program(process: Path) -> str:
    with suppress(OSError):
        return (process / "comm").read_text(errors="replace").strip()[:64]
    return ""


def _container(process: Path) -> str:
    with suppress(OSError):
        return container_id((process / "cgroup").read_text(errors="replace")) or ""
    return ""
