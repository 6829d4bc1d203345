"""Documents of the API as a client gets them."""

from __future__ import annotations

import json
from typing import Any

from aiidpd.api.document import Document, field_names, parse, to_json
from aiidpd.components.containers.api import ContainerDocument
from aiidpd.components.thermal.gpu import GpuReading

NOW = 1_800_000_000.0


def as_dict(document: Document) -> dict[str, Any]:
    """Return ``document`` as it arrives."""
    found: dict[str, Any] = json.loads(to_json(document))
    return found


def empty(kind: Any, **more: Any) -> dict[str, Any]:
    """Return a current reading of ``kind`` with the fields ``more``, as it arrives."""
    return as_dict(parse(kind, {"read_at": NOW, "reason": "", "simulated": False} | more))


def unknown_gpu(**more: Any) -> GpuReading:
    """Return a GPU of which nothing is known but ``more``."""
    fields = field_names(GpuReading)
    given: dict[str, Any] = dict.fromkeys(fields) | {"fans": [], "mig_instances": []}
    return parse(GpuReading, given | {"index": 0, "uuid": "GPU-1", "name": "L4"} | more)


def container(name: str, **more: Any) -> ContainerDocument:
    """Return a container that runs, but for ``more``."""
    given = {
        "id": f"{name}-id",
        "name": name,
        "image": "img",
        "state": "running",
        "phase": "no_healthcheck",
        "health": None,
        "exit_code": None,
        "oom_killed": False,
        "restart_count": 0,
        "started_at": NOW - 3600,
        "finished_at": None,
        "project": "",
        "service": "",
        "restart_policy": "no",
        "gpu": False,
    }
    return parse(ContainerDocument, given | more)
