"""Rules on the container engine itself (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, rule
from aiidpd.contracts.inspections import EngineFacts

_LOCAL: Final = ("127.", "::1", "localhost")
_FILE: Final = "/etc/docker/daemon.json"


@rule(
    "engine-tcp",
    Level.CRITICAL,
    "The engine listens on the network without encryption",
    why="Whoever reaches that port is root of this machine.",
    remedy='take the tcp:// address out of "hosts", or require certificates ("tlsverify")',
    cis="2.7",
)
def engine_tcp(engine: EngineFacts, facts: Facts) -> Iterator[Found]:
    """Find an engine's API on TCP for whoever comes."""
    warned = next((each for each in engine.warnings if "without encryption" in each), "")
    hosts = facts.daemon.get("hosts")
    given = [each for each in hosts if isinstance(each, str)] if isinstance(hosts, list) else []
    open_ones = [each for each in given if each.startswith("tcp://")]
    if warned:
        yield Found(f"the engine says: {warned}", "hosts")
    elif open_ones and facts.daemon.get("tlsverify") is not True:
        yield Found(f"it listens on {', '.join(open_ones)}", "hosts")


@rule(
    "engine-insecure-registry",
    Level.MEDIUM,
    "Images come from a registry without encryption",
    why="Whoever is on the way puts other images in their place.",
    remedy='give the registry a certificate, and take it out of "insecure-registries"',
    cis="2.5",
)
def engine_insecure_registry(engine: EngineFacts, _: Facts) -> Iterator[Found]:
    """Find registries of other machines that are trusted without a certificate."""
    for each in dict.fromkeys(engine.insecure_registries):
        if not each.startswith(_LOCAL):
            yield Found(f"{each} need not prove who it is", "insecure-registries")


@rule(
    "engine-seccomp",
    Level.HIGH,
    "The engine filters no system calls",
    why="Every container then has every call of the kernel.",
    remedy='take "seccomp-profile": "unconfined" out, and run a kernel with seccomp',
    cis="2.17",
)
def engine_seccomp(engine: EngineFacts, _: Facts) -> Iterator[Found]:
    """Find engines without seccomp, or with none by default."""
    if not engine.security_options:
        return
    if "seccomp" not in engine.options:
        yield Found("the engine has no seccomp", "seccomp-profile")
    elif any("profile=unconfined" in each for each in engine.security_options):
        yield Found("its profile is unconfined", "seccomp-profile")


@rule(
    "engine-userns",
    Level.LOW,
    "Root in containers is root of the host",
    why="With user namespaces, root of a container is nobody on the host. GPUs work with them.",
    remedy='set "userns-remap": "default"; images and volumes are then stored anew',
    cis="2.9",
)
def engine_userns(engine: EngineFacts, _: Facts) -> Iterator[Found]:
    """Find engines without user namespaces that run as root."""
    if engine.security_options and not engine.options & {"userns", "rootless"}:
        yield Found("it uses no user namespaces", "userns-remap")


@rule(
    "engine-live-restore",
    Level.LOW,
    "Containers end with the engine",
    why="An update of Docker stops every engine, and each loads its model again.",
    remedy='set "live-restore": true',
    cis="2.15",
)
def engine_live_restore(engine: EngineFacts, _: Facts) -> Iterator[Found]:
    """Find engines whose restart stops what they run. A swarm can't have it."""
    if engine.version and not engine.live_restore and not engine.swarm:
        yield Found("live restore is off", "live-restore")


@rule(
    "engine-swarm",
    Level.LOW,
    "Swarm mode is on",
    why="It opens ports for other machines, which a single one does not need.",
    remedy="leave it by `docker swarm leave --force`, unless it is used",
    cis="5.1",
)
def engine_swarm(engine: EngineFacts, _: Facts) -> Iterator[Found]:
    """Find engines in a swarm."""
    if engine.swarm:
        yield Found("it is in a swarm", "swarm")


@rule(
    "engine-experimental",
    Level.LOW,
    "Experimental functions are on",
    why="They change without notice, and nobody promises their safety.",
    remedy='take "experimental": true out',
    cis="2.18",
)
def engine_experimental(engine: EngineFacts, _: Facts) -> Iterator[Found]:
    """Find engines with experimental functions."""
    if engine.experimental:
        yield Found("experimental functions are on", "experimental")


@rule(
    "engine-iptables",
    Level.MEDIUM,
    "The engine rules no packets",
    why="Then nothing separates networks of containers, and published ports depend on somebody's own rules.",
    remedy='take "iptables": false out',
    cis="2.4",
)
def engine_iptables(_: EngineFacts, facts: Facts) -> Iterator[Found]:
    """Find engines that may not change the packet filter."""
    if facts.daemon.get("iptables") is False:
        yield Found('"iptables" is false', _FILE)


@rule(
    "engine-nvidia-default",
    Level.LOW,
    "Any container gets a GPU by a variable",
    why="With the runtime nvidia for all, NVIDIA_VISIBLE_DEVICES in an image or an environment is enough.",
    remedy='take "default-runtime": "nvidia" out; reserve GPUs for those that need them',
)
def engine_nvidia_default(engine: EngineFacts, _: Facts) -> Iterator[Found]:
    """Find engines that run everything by NVIDIA's runtime."""
    if engine.default_runtime == "nvidia":
        yield Found("the default runtime is nvidia", "default-runtime")


RULES: Final = (
    engine_tcp,
    engine_insecure_registry,
    engine_seccomp,
    engine_userns,
    engine_live_restore,
    engine_swarm,
    engine_experimental,
    engine_iptables,
    engine_nvidia_default,
)
