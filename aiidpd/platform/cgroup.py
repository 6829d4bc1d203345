"""Container that a process runs in, by the name of its control group (pure)."""

from __future__ import annotations

import re

# Docker, containerd, CRI-O and Podman all name a container's group after its 64 hex digits:
# "docker-ID.scope", "libpod-ID.scope", "cri-containerd-ID.scope", "/docker/ID", "/kubepods/.../ID".
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def container_id(cgroup: str) -> str | None:
    """Return the container's id in ``cgroup``, the text of /proc/PID/cgroup; None outside of containers.

    A line is ``hierarchy:controllers:path``, one a hierarchy, just one with cgroup v2. Where containers
    are nested the innermost is meant.
    """
    for line in cgroup.splitlines():
        path = line.split(":", 2)[-1]
        found = _ID.findall(path)
        if found:
            return str(found[-1])
    return None
