"""JSON of Docker's API to the facts of an audit (pure).

Takes whatever JSON is given: what has another form than Docker writes counts as not given. Texts are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from sys import intern
from typing import Any, Final

from aiidpd.contracts.inspections import (
    Device,
    DeviceRequest,
    EngineFacts,
    HostMount,
    Inspection,
    PublishedPort,
    Tmpfs,
    Ulimit,
)

_MOST: Final = 512  # entries of a list
_LONGEST: Final = 4096  # characters of a text
_LARGEST: Final = 2**63 - 1
_SIZE: Final = re.compile(r"(\d{1,15})([kmgt]?)b?", re.ASCII | re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def inspection(
    data: Mapping[str, Any],
    *,
    gpu: bool,
    running: bool,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
) -> Inspection:
    """Return the facts in the answer of ``GET /containers/{id}/json``; some of them were read already."""
    config, host = mapping(data.get("Config")), mapping(data.get("HostConfig"))
    health = mapping(config.get("Healthcheck"))
    restart, log = mapping(host.get("RestartPolicy")), mapping(host.get("LogConfig"))
    test = texts(health.get("Test"))
    return Inspection(
        id=text(data.get("Id")),
        name=text(data.get("Name")).removeprefix("/"),
        image=text(config.get("Image")),
        running=running,
        gpu=gpu,
        user=text(config.get("User")),
        privileged=host.get("Privileged") is True,
        cap_add=capabilities(host.get("CapAdd")),
        cap_drop=capabilities(host.get("CapDrop")),
        security_options=texts(host.get("SecurityOpt")),
        apparmor_profile=text(data.get("AppArmorProfile")),
        masked=host.get("MaskedPaths") != [],
        group_add=texts(host.get("GroupAdd")),
        pid_mode=text(host.get("PidMode")),
        ipc_mode=text(host.get("IpcMode")),
        uts_mode=text(host.get("UTSMode")),
        userns_mode=text(host.get("UsernsMode")),
        network_mode=text(host.get("NetworkMode")),
        cgroupns_mode=text(host.get("CgroupnsMode")),
        cgroup_parent=text(host.get("CgroupParent")),
        mounts=tuple(_mounts(data, host)),
        tmpfs=tuple(_tmpfs(host)),
        read_only=host.get("ReadonlyRootfs") is True,
        ports=tuple(_ports(host, mapping(data.get("NetworkSettings")))),
        publish_all=host.get("PublishAllPorts") is True,
        memory_bytes=max(0, number(host.get("Memory"))),
        cpu_limited=any(number(host.get(each)) > 0 for each in ("NanoCpus", "CpuQuota", "CpuShares"))
        or bool(text(host.get("CpusetCpus"))),
        pids_limit=limit if (limit := number(host.get("PidsLimit"))) > 0 else None,
        oom_kill_disabled=host.get("OomKillDisable") is True,
        oom_score_adjustment=number(host.get("OomScoreAdj")),
        ulimits=tuple(
            Ulimit(text(each.get("Name")), number(each.get("Soft")), number(each.get("Hard")))
            for each in mappings(host.get("Ulimits"))
        ),
        restart=text(restart.get("Name")) or "no",
        restart_maximum=number(restart.get("MaximumRetryCount")),
        log_driver=text(log.get("Type")),
        log_options=pairs(log.get("Config")),
        health_check=bool(test) and test[0] != "NONE",
        devices=tuple(
            Device(
                text(each.get("PathOnHost")),
                text(each.get("PathInContainer")),
                text(each.get("CgroupPermissions")),
            )
            for each in mappings(host.get("Devices"))
        ),
        device_rules=texts(host.get("DeviceCgroupRules")),
        device_requests=tuple(
            DeviceRequest(
                text(each.get("Driver")),
                number(each.get("Count")),
                texts(each.get("DeviceIDs")),
                tuple(name for group in items(each.get("Capabilities")) for name in texts(group)),
            )
            for each in mappings(host.get("DeviceRequests"))
        ),
        runtime=text(host.get("Runtime")),
        arguments=arguments,
        environment=environment,
        labels=pairs(config.get("Labels")),
    )


def engine_facts(info: Mapping[str, Any]) -> EngineFacts:
    """Return the facts in the answer of ``GET /info``."""
    registries = mapping(info.get("RegistryConfig"))
    indices = mapping(registries.get("IndexConfigs"))
    insecure = [text(name) for name, each in indices.items() if mapping(each).get("Secure") is False]
    return EngineFacts(
        version=text(info.get("ServerVersion")),
        security_options=texts(info.get("SecurityOptions")),
        default_runtime=text(info.get("DefaultRuntime")),
        runtimes=tuple(text(each) for each in islice(mapping(info.get("Runtimes")), _MOST)),
        live_restore=info.get("LiveRestoreEnabled") is True,
        experimental=info.get("ExperimentalBuild") is True,
        swarm=text(mapping(info.get("Swarm")).get("LocalNodeState")) not in ("", "inactive"),
        insecure_registries=(*texts(registries.get("InsecureRegistryCIDRs")), *insecure[:_MOST]),
        cgroup_version=text(info.get("CgroupVersion")),
        warnings=texts(info.get("Warnings")),
    )


def mapping(value: object) -> Mapping[str, Any]:
    """Return ``value`` where it is an object of JSON, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """Return ``value`` where it is a list of JSON, of bounded length."""
    return value[:_MOST] if isinstance(value, list) else []


def mappings(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in the list ``value``."""
    return (each for each in items(value) if isinstance(each, Mapping))


def text(value: object) -> str:
    """Return ``value`` where it is a text, of bounded length and such that it can be written down."""
    return intern(value[:_LONGEST].encode(errors="replace").decode()) if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """Return the texts in the list ``value``."""
    return tuple(text(each) for each in items(value) if isinstance(each, str))


def number(value: object) -> int:
    """Return ``value`` where it is a whole number, else 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if -_LARGEST <= value <= _LARGEST else 0


def pairs(value: object) -> dict[str, str]:
    """Return names and texts of the object ``value``."""
    return {
        text(key): text(each) if isinstance(each, str) else str(each)[:_LONGEST]
        for key, each in islice(mapping(value).items(), _MOST)
    }


def capabilities(value: object) -> tuple[str, ...]:
    """Return the capabilities in ``value``, in upper case and without their prefix."""
    return tuple(each.upper().removeprefix("CAP_") for each in texts(value))


def tmpfs_size(options: tuple[str, ...]) -> int | None:
    """Return the size that the last option for it gives; None for no bound."""
    found = None
    for each in options:
        name, _, value = each.partition("=")
        match = _SIZE.fullmatch(value.strip()) if name.strip() == "size" else None
        if match is not None:
            found = int(match[1]) * 1024 ** _POWERS[match[2].lower()] or None
    return found


def _mounts(data: Mapping[str, Any], host: Mapping[str, Any]) -> Iterator[HostMount]:
    # What was asked for names the propagation and a volume's options; what there is names the rest.
    wanted = {text(each.get("Target")): each for each in mappings(host.get("Mounts"))}
    for each in mappings(data.get("Mounts")):
        kind, destination = text(each.get("Type")), text(each.get("Destination"))
        given = mapping(mapping(wanted.get(destination)).get("VolumeOptions"))
        options = pairs(mapping(given.get("DriverConfig")).get("Options"))
        yield HostMount(
            kind,
            text(each.get("Name")) if kind == "volume" else text(each.get("Source")),
            destination,
            each.get("RW") is False,
            text(each.get("Propagation")),
            options.get("device", "") if "bind" in options.get("o", "") else "",
        )


def _tmpfs(host: Mapping[str, Any]) -> Iterator[Tmpfs]:
    for destination, given in islice(mapping(host.get("Tmpfs")).items(), _MOST):
        options = tuple(part for part in text(given).split(",") if part)
        yield Tmpfs(text(destination), options, tmpfs_size(options))
    for each in mappings(host.get("Mounts")):
        if each.get("Type") == "tmpfs":
            size = number(mapping(each.get("TmpfsOptions")).get("SizeBytes"))
            yield Tmpfs(text(each.get("Target")), (), size or None)


def _ports(host: Mapping[str, Any], network: Mapping[str, Any]) -> Iterator[PublishedPort]:
    """Yield the published ports: as they are where the container runs, else as they were requested."""
    published = mapping(network.get("Ports"))
    if not any(items(each) for each in published.values()):
        published = mapping(host.get("PortBindings"))
    for key, bindings in islice(published.items(), _MOST):
        head, _, protocol = text(key).partition("/")
        if not (head.isascii() and head.isdigit() and len(head) <= 5):  # noqa: PLR2004 -- digits of a port
            continue
        for each in mappings(bindings):
            given = text(each.get("HostPort"))
            at = int(given) if given.isascii() and given.isdigit() and len(given) <= 5 else 0  # noqa: PLR2004
            yield PublishedPort(int(head), protocol or "tcp", text(each.get("HostIp")), at or None)
