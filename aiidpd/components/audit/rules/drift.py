"""Rules on containers that are not as their compose file says (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, rule
from aiidpd.contracts.inspections import Inspection, PublishedPort

_WORDS: Final[dict[str, Callable[[Inspection], object]]] = {
    "image": lambda each: each.image,
    "privileged": lambda each: each.privileged,
    "cap_add": lambda each: sorted(each.cap_add),
    "cap_drop": lambda each: sorted(each.cap_drop),
    "security_opt": lambda each: sorted(each.security_options),
    "read_only": lambda each: each.read_only,
    "pid": lambda each: each.pid_mode if each.pid_mode == "host" else "",
    "ipc": lambda each: each.ipc_mode if each.ipc_mode == "host" else "",
    "mem_limit": lambda each: each.memory_bytes,
    "pids_limit": lambda each: each.pids_limit,
    "restart": lambda each: (each.restart, each.restart_maximum),
    "user": lambda each: each.user,
}
_WILD: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 -- they are compared


def _ports(container: Inspection, service: Inspection) -> bool:
    """Return whether the ports are the same; one that the engine chose may be any."""

    def key(port: PublishedPort) -> tuple[str, int, str]:
        return "" if port.host_ip in _WILD else port.host_ip, port.port, port.protocol

    chosen = {key(each) for each in service.ports if each.host_port is None}
    wanted = {(key(each), each.host_port) for each in service.ports}
    found = {(key(each), None if key(each) in chosen else each.host_port) for each in container.ports}
    return wanted == found


def _compared(container: Inspection, service: Inspection, unknown: frozenset[str]) -> Iterator[str]:
    for key, read in _WORDS.items():
        wanted = read(service)
        if key in unknown or (key in ("image", "user") and not wanted):
            continue
        if wanted != read(container):
            yield key
    if "ports" not in unknown and not _ports(container, service):
        yield "ports"


@rule(
    "drift",
    Level.MEDIUM,
    "The container is not as its compose file says",
    why="What somebody reads in the file is not what runs: the file was changed and not applied, or the "
    "container was made by hand.",
    remedy="`docker compose up -d` applies the file",
)
def drift(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find containers that differ from their service in what matters for safety."""
    declared = facts.declared.get(container.id)
    if declared is None or declared.service is None:
        return
    different = list(_compared(container, declared.service, declared.unknown))
    if different:
        yield Found(f"it differs from {declared.file} in {', '.join(different)}", declared.file)


@rule(
    "drift-service-gone",
    Level.LOW,
    "The compose file has no such service any more",
    why="It runs on, and no change of the file reaches it.",
    remedy="`docker compose up -d --remove-orphans` removes it",
)
def drift_service_gone(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find containers whose service was taken out of the file."""
    declared = facts.declared.get(container.id)
    if declared is not None and declared.missing:
        yield Found(f"{declared.file} has no service for it", declared.file)


RULES: Final = (drift, drift_service_gone)
