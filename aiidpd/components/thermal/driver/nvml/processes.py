"""Processes that use a GPU's memory, and the container that each runs in."""

from __future__ import annotations

import pynvml

from aiidpd.components.thermal.driver.nvml.invoke import ABSENT, Capabilities, Failed, Handle, Json, invoke
from aiidpd.platform.cgroup import container_id

MOST = 128
"""As many processes are listed of a GPU, those that hold most memory first."""

_KINDS = {
    "compute": ("nvmlDeviceGetComputeRunningProcesses", pynvml.nvmlDeviceGetComputeRunningProcesses),
    "graphics": ("nvmlDeviceGetGraphicsRunningProcesses", pynvml.nvmlDeviceGetGraphicsRunningProcesses),
}


def read_processes(handle: Handle, _capabilities: Capabilities) -> tuple[Json, list[Json]]:
    """Return the processes on the GPU, each once: with compute work it is ``compute``, else ``graphics``."""
    found: dict[int, Json] = {}
    lacking: Failed | None = None
    answered = False
    for kind, (name, function) in _KINDS.items():
        try:
            processes = invoke(name, function, handle)
        except Failed as error:
            if error.code not in ABSENT:
                raise
            lacking = error
            continue
        answered = True
        for process in processes:
            found.setdefault(process.pid, _process(process.pid, kind, process.usedGpuMemory))
    if lacking is not None and not answered:
        raise lacking
    by_memory = sorted(found.values(), key=lambda process: -(process["used_memory_bytes"] or 0))
    return {"processes": by_memory[:MOST]}, []


def _process(pid: int, kind: str, used: int | None) -> Json:
    return {
        "pid": pid,
        "kind": kind,
        "name": _read(pid, "comm").strip(),
        "used_memory_bytes": used,
        "container_id": container_id(_read(pid, "cgroup")),
    }


def _read(pid: int, name: str) -> str:
    # A process may end, or belong to another pid namespace: then there is nothing to say of it.
    try:
        with open(f"/proc/{pid}/{name}", errors="replace") as file:  # noqa: PTH123 -- pathlib costs a megabyte
            return file.read()
    except OSError:
        return ""
