"""Command line of an engine that runs on this machine outside of containers, by its port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiidpd.engines.profile import EngineProfile, Start
from aiidpd.engines.urls import address_of, is_loopback
from aiidpd.platform.cgroup import container_id

PROC: Final = Path("/proc")
_LONGEST: Final = 128 * 1024  # bytes of a command line or an environment


def find_start(profile: EngineProfile, url: str, proc: Path = PROC) -> Start | None:
    """Return how the engine at ``url`` was started; None where no process of this machine can be it.

    Reads the command lines of all processes. Where several could be it, one that may sleep is returned.
    """
    address = address_of(url)
    if address is None or not is_loopback(address[0]):
        return None
    found = [
        start
        for start in _starts(proc)
        if start.runs(profile.programs) and profile.listens_at(start) == address[1]
    ]
    return next((each for each in found if profile.sleeps(each)), found[0] if found else None)


def _starts(proc: Path) -> Iterator[Start]:
    own = None
    with suppress(OSError):
        own = _container(proc / "self")  # where the daemon is in a container, its other processes count
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            arguments = _texts(process / "cmdline")
            if arguments and _container(process) in (None, own):
                yield Start(tuple(arguments), _environment(process))


def _container(process: Path) -> str | None:
    """Return the id of the container that a process runs in, None outside of containers."""
    return container_id((process / "cgroup").read_text(errors="replace"))


def _environment(process: Path) -> dict[str, str]:
    """Return the environment; an empty one where that of another user's process can't be read."""
    try:
        pairs = (text.partition("=") for text in _texts(process / "environ"))
        return {name: value for name, _, value in pairs}
    except OSError:
        return {}


def _texts(path: Path) -> list[str]:
    with path.open("rb") as file:
        content = file.read(_LONGEST)
    return [each.decode(errors="replace") for each in content.split(b"\0") if each]
