"""Rules on how a container can be reached (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import groupby
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Edit, Found, Level, drop, rule, swap
from aiidpd.contracts.inspections import Inspection, PublishedPort

_WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 -- they are searched for
_LOOPBACK_CLOSED: Final = 28  # major version of the engine
_PRIVILEGED: Final = 1024
_SSH: Final = 22


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _published(container: Inspection) -> Iterator[tuple[PublishedPort, bool]]:
    """Yield each published port once, with whether it is on every address."""
    ordered = sorted(container.ports, key=lambda each: (each.port, each.protocol, each.host_port or 0))
    for _, group in groupby(ordered, key=lambda each: (each.port, each.protocol, each.host_port)):
        ports = list(group)
        wild = [each for each in ports if each.host_ip in _WILDCARDS]
        if wild:
            yield wild[0], True
        yield from ((each, False) for each in ports if each.host_ip not in _WILDCARDS)


def written(port: PublishedPort) -> str:
    """Return ``port`` as a compose file writes it."""
    host = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
    inside = str(port.port) if port.protocol == "tcp" else f"{port.port}/{port.protocol}"
    at = "" if port.host_port is None else str(port.host_port)
    return ":".join([host, at, inside] if host else [at, inside] if at else [inside])


def _closed(port: PublishedPort) -> tuple[Edit, ...]:
    at = port.host_port or port.port
    inside = str(port.port) if port.protocol == "tcp" else f"{port.port}/{port.protocol}"
    return (swap("ports", written(port), f"127.0.0.1:{at}:{inside}"),)


@rule(
    "port-everywhere",
    Level.HIGH,
    "A port is open to every network",
    why="Docker opens it past ufw and firewalld. Of 175108 open Ollama servers that were counted in January "
    "2026 most were meant for one machine.",
    remedy="publish it on 127.0.0.1",
    cis="5.14",
)
def port_everywhere(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find ports that are published on all addresses."""
    for port, wild in _published(container):
        if wild:
            yield Found(f"port {written(port)} is published on all addresses", "ports", _closed(port))


@rule(
    "port-beyond-loopback",
    Level.MEDIUM,
    "A port is open to a network",
    why="Whoever reaches that address reaches the server; encryption and keys are its own business.",
    remedy="publish it on 127.0.0.1, with a proxy for others in front",
)
def port_beyond_loopback(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find ports that are published on an address other than loopback."""
    for port, wild in _published(container):
        if not wild and not _is_loopback(port.host_ip):
            yield Found(f"port {written(port)} is published on {port.host_ip}", "ports", _closed(port))


@rule(
    "port-loopback-leak",
    Level.MEDIUM,
    "A port on loopback can be reached from the network",
    why="Before Docker 28 a machine on the same network that routes to the container reaches it all the same "
    "(moby issue 45610).",
    remedy="update Docker to 28 or newer, or drop such packets in the table raw",
)
def port_loopback_leak(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find ports on loopback behind an engine that does not protect them."""
    major = facts.engine.major if facts.engine is not None else None
    if container.declared or major is None or major >= _LOOPBACK_CLOSED:
        return
    for port, wild in _published(container):
        if not wild and _is_loopback(port.host_ip):
            yield Found(
                f"port {written(port)} behind Docker {facts.engine.version if facts.engine else ''}", "ports"
            )


@rule(
    "port-past-firewall",
    Level.HIGH,
    "A port passes the firewall",
    why="The firewall closes this machine, but packets to containers are forwarded and never pass its rules: "
    "only those of the chain DOCKER-USER.",
    remedy="publish it on 127.0.0.1, or drop what is not wanted in the chain DOCKER-USER",
)
def port_past_firewall(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find published ports that a closed firewall does not cover."""
    firewall = facts.host.firewall
    if firewall is None or not firewall.closed or firewall.forwards_filtered:
        return
    for port, wild in _published(container):
        if wild or not _is_loopback(port.host_ip):
            yield Found(
                f"port {written(port)} passes {firewall.name or 'the firewall'}", "ports", _closed(port)
            )


@rule(
    "port-privileged",
    Level.LOW,
    "A port below 1024",
    why="Such ports belong to the host's own services, which a container then stands in for.",
    remedy="publish it on a port from 1024 on",
    cis="5.8",
)
def port_privileged(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find privileged ports of the host."""
    for port, _wild in _published(container):
        if port.host_port is not None and port.host_port < _PRIVILEGED:
            yield Found(f"port {written(port)} is below {_PRIVILEGED}", "ports")


@rule(
    "ports-all",
    Level.MEDIUM,
    "Every port of the image is published",
    why="Also those that nobody knows of, each on a random port of all addresses.",
    remedy="publish the one that is needed",
    cis="5.9",
)
def ports_all(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers all of whose ports are published."""
    if container.publish_all:
        yield Found("all of its ports are published", "ports")


@rule(
    "default-bridge",
    Level.LOW,
    "It is on the default bridge",
    why="Every container there reaches every other, and none by its name.",
    remedy="give it a network of its own",
    cis="5.30",
)
def default_bridge(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers on docker0."""
    default = container.network_mode in ("bridge", "default") or not container.network_mode
    if default and (not container.declared or container.network_mode):
        edits = (drop("network_mode"),) if container.declared else ()
        yield Found("it is on the default bridge", "network_mode", edits)


@rule(
    "ssh-server",
    Level.MEDIUM,
    "A login server runs in it",
    why="It needs keys and accounts of its own, which nobody maintains; `docker exec` does the same.",
    remedy="leave the server out",
    cis="5.7",
)
def ssh_server(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers that start sshd or publish its port."""
    starts = any(each.rpartition("/")[2] in ("sshd", "dropbear") for each in container.arguments[:8])
    if starts or any(each.port == _SSH and each.protocol == "tcp" for each in container.ports):
        yield Found("an SSH server runs in it" if starts else "the port of SSH is published", "command")


RULES: Final = (
    port_everywhere,
    port_beyond_loopback,
    port_loopback_leak,
    port_past_firewall,
    port_privileged,
    ports_all,
    default_bridge,
    ssh_server,
)
