"""Rules on what a container shares with the host or with others (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, drop, rule
from aiidpd.contracts.inspections import Inspection

_HOST: Final = "host"


@rule(
    "pid-host",
    Level.HIGH,
    "It sees the processes of the host",
    why="It reads their environments, and as root ends or traces them.",
    remedy='leave pid: "host" out',
    cis="5.16",
)
def pid_host(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers in the host's process namespace."""
    if container.pid_mode == _HOST:
        yield Found("it is in the host's process namespace", "pid", (drop("pid"),))


@rule(
    "ipc-host",
    Level.HIGH,
    "It shares memory with the host",
    why="Shared memory of every process of the host can be read. More of its own needs only shm_size.",
    remedy='leave ipc: "host" out, and give it shm_size',
    cis="5.17",
)
def ipc_host(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers in the host's IPC namespace."""
    if container.ipc_mode == _HOST:
        yield Found("it is in the host's IPC namespace", "ipc", (drop("ipc"),))


@rule(
    "uts-host",
    Level.MEDIUM,
    "It can rename the host",
    why="With the capability for it, a process sets the host's name, which certificates and logs go by.",
    remedy='leave uts: "host" out',
    cis="5.21",
)
def uts_host(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers in the host's UTS namespace."""
    if container.uts_mode == _HOST:
        yield Found("it is in the host's UTS namespace", "uts", (drop("uts"),))


@rule(
    "network-host",
    Level.HIGH,
    "It is in the network of the host",
    why="Each of its ports is one of the host's, and it reaches whatever listens on loopback there.",
    remedy="give it a network of its own, and publish its port on 127.0.0.1",
    cis="5.10",
)
def network_host(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers in the host's network namespace."""
    if container.network_mode == _HOST:
        yield Found("it is in the host's network", "network_mode", (drop("network_mode"),), guess=True)


@rule(
    "userns-host",
    Level.MEDIUM,
    "It leaves the engine's user namespace",
    why="Root in it is root of the host although the engine would have made it another user.",
    remedy='leave userns_mode: "host" out',
    cis="5.31",
)
def userns_host(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers in the host's user namespace by their own wish."""
    if container.userns_mode == _HOST:
        yield Found("it is in the host's user namespace", "userns_mode", (drop("userns_mode"),))


@rule(
    "cgroupns-host",
    Level.LOW,
    "It sees the control groups of the host",
    why="The names of all containers and services show in its /proc and /sys.",
    remedy='leave cgroup: "host" out',
)
def cgroupns_host(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find containers in the host's cgroup namespace; with cgroups of version 1 that is the engine's way."""
    second = container.declared or (facts.engine is not None and facts.engine.cgroup_version == "2")
    if second and container.cgroupns_mode == _HOST:
        yield Found("it is in the host's cgroup namespace", "cgroup", (drop("cgroup"),))


@rule(
    "cgroup-parent",
    Level.LOW,
    "It is in a control group of somebody's choice",
    why="Limits of that group hold in place of the engine's own.",
    remedy="leave cgroup_parent out, unless a person confirmed it: then waive this",
    cis="5.25",
)
def cgroup_parent(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers below another control group than the engine's."""
    if container.cgroup_parent:
        what = f"its control group is below {container.cgroup_parent}"
        yield Found(what, "cgroup_parent", (drop("cgroup_parent"),))


@rule(
    "namespace-of-another",
    Level.LOW,
    "It shares processes or memory with another container",
    why="Whoever breaks into one of the two has the other.",
    remedy="give each namespaces of its own",
)
def namespace_of_another(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers in the process or IPC namespace of another."""
    for key, mode in (("pid", container.pid_mode), ("ipc", container.ipc_mode)):
        if mode.startswith(("container:", "service:")):
            yield Found(f"its {key} namespace is that of {mode.partition(':')[2]}", key, (drop(key),))


RULES: Final = (
    pid_host,
    ipc_host,
    uts_host,
    network_host,
    userns_host,
    cgroupns_host,
    cgroup_parent,
    namespace_of_another,
)
