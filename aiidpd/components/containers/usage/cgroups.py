"""Control groups of a process, from /proc/PID/cgroup (pure).

Version 2 has one hierarchy, ``0::PATH``; version 1 has one a controller, ``7:memory:PATH``; in hybrid mode
both are there, and the controllers count in those of version 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

MOST_LINES: Final = 64
UNIFIED: Final = ""
"""Name of version 2's hierarchy among those by controller."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Paths of a process's groups, by controller; that of :data:`UNIFIED` is of version 2."""

    paths: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def version_1(self) -> bool:
        """True where the memory is counted in a hierarchy of version 1."""
        return "memory" in self.paths

    def of_container(self, identity: str) -> Groups:
        """Return the groups of the whole container ``identity``; without paths where that is not known.

        Its first process may be in a group below the container's (``docker-ID.scope/init.scope``, systemd
        within; ``libpod-ID.scope/container``, Podman): the path is cut behind the part that has the id.
        Where no part has it, the process's own group counts, unless that may have others in it: the root,
        one outside of what can be seen here, or one that ends in ``.service`` or ``.slice``.
        """
        found = {name: _whole(path, identity) for name, path in self.paths.items()}
        return Groups({name: path for name, path in found.items() if path})


def parse(text: str) -> Groups:
    """Return the groups in ``text``, that of /proc/PID/cgroup; lines that are none are left out."""
    paths: dict[str, str] = {}
    for line in text.split("\n")[:MOST_LINES]:
        number, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if not number.isdecimal() or not separator or not path.startswith("/"):
            continue
        if controllers == UNIFIED:
            if number == "0":
                paths[UNIFIED] = path
            continue
        for name in controllers.split(","):
            if name and not name.startswith("name="):
                paths[name] = path
    return Groups(MappingProxyType(paths))


def _whole(path: str, identity: str) -> str:
    parts = path.split("/")
    if ".." in parts or "\0" in path:
        return ""
    for place in range(len(parts) - 1, 0, -1):
        if identity and identity in parts[place]:
            return "/".join(parts[: place + 1])
    own = parts[-1]
    if not own or own.endswith((".service", ".slice")) or own == "init.scope":
        return ""
    return path
