"""A service of a compose file as the facts that rules judge (pure)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiidpd.components.audit.compose.ports import published
from aiidpd.components.audit.compose.services_text import absolute
from aiidpd.components.audit.compose.types import check_types, texts, truth
from aiidpd.contracts.inspections import (
    Device,
    DeviceRequest,
    HostMount,
    Inspection,
    Tmpfs,
    Ulimit,
)

_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
UNKNOWN_LIMIT: Final = 1
"""Value of a limit that a variable holds: there is one, and how large it is nobody knows."""


def facts_of(name: str, service: Mapping[str, Any], directory: str, volumes: Mapping[str, Any]) -> Inspection:
    """Return the facts of a service; raises :class:`ComposeError` where a value has a wrong type."""
    check_types(name, service)
    limits = _map(_map(_map(service.get("deploy")).get("resources")).get("limits"))
    log = _map(service.get("logging"))
    requests = tuple(_requests(service))
    runtime = _text(service.get("runtime"))
    restart, _, most = _text(service.get("restart")).partition(":")
    mounts, tmpfs = _storage(service, directory, volumes)
    environment = {
        str(key): _text(value)
        for key, value in _pairs(service.get("environment")).items()
        if value is not None
    }
    pids = _limit(service.get("pids_limit")) or _limit(limits.get("pids"))
    user = service.get("user")
    return Inspection(
        id=name,
        name=name,
        image=_text(service.get("image")),
        declared=True,
        build=service.get("build") is not None,
        gpu=runtime == "nvidia"
        or any(each.driver == "nvidia" or "gpu" in each.capabilities for each in requests),
        user=None if user is None else _text(user),
        privileged=truth(service.get("privileged")),
        cap_add=_capabilities(service.get("cap_add")),
        cap_drop=_capabilities(service.get("cap_drop")),
        security_options=texts(service.get("security_opt")),
        group_add=texts(service.get("group_add")),
        pid_mode=_text(service.get("pid")),
        ipc_mode=_text(service.get("ipc")),
        uts_mode=_text(service.get("uts")),
        userns_mode=_text(service.get("userns_mode")),
        network_mode=_text(service.get("network_mode")),
        cgroupns_mode=_text(service.get("cgroup")),
        cgroup_parent=_text(service.get("cgroup_parent")),
        mounts=mounts,
        tmpfs=tmpfs,
        read_only=truth(service.get("read_only")),
        ports=tuple(published(service.get("ports"))),
        memory_bytes=_size(service.get("mem_limit")) or _size(limits.get("memory")),
        cpu_limited=any(
            _number(each) > 0
            for each in (
                *(service.get(key) for key in ("cpus", "cpu_quota", "cpu_shares", "cpu_count")),
                limits.get("cpus"),
            )
        )
        or bool(service.get("cpuset")),
        pids_limit=pids if pids > 0 else None,
        oom_kill_disabled=truth(service.get("oom_kill_disable")),
        oom_score_adjustment=int(_number(service.get("oom_score_adj"))),
        ulimits=tuple(_ulimits(service.get("ulimits"))),
        restart=restart or "no",
        restart_maximum=int(_number(most)),
        log_driver=_text(log.get("driver")),
        log_options={str(key): _text(value) for key, value in _map(log.get("options")).items()},
        health_check=_health(service.get("healthcheck")),
        devices=tuple(_devices(service.get("devices"))),
        device_rules=texts(service.get("device_cgroup_rules")),
        device_requests=requests,
        runtime=runtime,
        arguments=(*_words(service.get("entrypoint")), *_words(service.get("command"))),
        environment=environment,
        labels={str(key): _text(value) for key, value in _pairs(service.get("labels")).items()},
    )


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _pairs(value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    split = (str(each).partition("=") for each in value) if isinstance(value, list) else ()
    return {name: text if sign else None for name, sign, text in split}


def _text(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float:
    """Return a number that may be written as text; one that a variable holds is some number."""
    if isinstance(value, bool):
        return 0.0
    text = _text(value).strip()
    if "${" in text:
        return float(UNKNOWN_LIMIT)
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if abs(found) < 2**63 else 0.0


def _limit(value: Any) -> int:
    return int(_number(value))


def _size(value: Any) -> int:
    """Return a number of bytes, 0 for none."""
    text = _text(value).strip()
    if "${" in text:
        return UNKNOWN_LIMIT
    match = _SIZE.fullmatch(text)
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()]) if match else 0


def _capabilities(value: Any) -> tuple[str, ...]:
    return tuple(each.strip().upper().removeprefix("CAP_") for each in texts(value))


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(each) for each in value)
    text = _text(value)
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


def _health(value: Any) -> bool | None:
    check = _map(value)
    test = check.get("test")
    if truth(check.get("disable")) or test in (["NONE"], "NONE"):
        return False
    return True if test else None


def _storage(
    service: Mapping[str, Any], directory: str, volumes: Mapping[str, Any]
) -> tuple[tuple[HostMount, ...], tuple[Tmpfs, ...]]:
    mounts: list[HostMount] = []
    tmpfs: list[Tmpfs] = []
    given = service.get("tmpfs")
    for each in [given] if isinstance(given, str) else texts(given):
        destination, _, written = each.partition(":")
        options = tuple(part for part in written.split(",") if part)
        sizes = [part.partition("=")[2] for part in options if part.startswith("size=")]
        tmpfs.append(Tmpfs(destination, options, (_size(sizes[-1]) or None) if sizes else None))
    for each in service.get("volumes") or ():
        if isinstance(each, dict):
            kind, source = _text(each.get("type")) or "volume", _text(each.get("source"))
            if kind == "tmpfs":
                size = _size(_map(each.get("tmpfs")).get("size"))
                tmpfs.append(Tmpfs(_text(each.get("target")), (), size or None))
                continue
            read_only = truth(each.get("read_only"))
            spread = _text(_map(each.get("bind")).get("propagation"))
            destination = _text(each.get("target"))
        else:
            source, destination, written_options = _short(_text(each))
            kind = "bind" if source.startswith(("/", ".", "~")) else "volume"
            read_only = "ro" in written_options
            spread = next((part for part in written_options if part.endswith(("shared", "slave"))), "")
        if kind == "bind":
            source = absolute(source, directory)
        mounts.append(HostMount(kind, source, destination, read_only, spread, _device(source, kind, volumes)))
    return tuple(mounts), tuple(tmpfs)


def _short(text: str) -> tuple[str, str, list[str]]:
    parts = text.split(":")
    if len(parts) == 1:
        return "", parts[0], []
    return parts[0], parts[1], [each for part in parts[2:] for each in part.split(",")]


def _device(source: str, kind: str, volumes: Mapping[str, Any]) -> str:
    """Return the folder of the host that a named volume shows, empty for one that the engine keeps."""
    options = _map(_map(volumes.get(source)).get("driver_opts")) if kind == "volume" else {}
    return _text(options.get("device")) if "bind" in _text(options.get("o")) else ""


def _devices(given: Any) -> Iterator[Device]:
    for each in given or ():
        if isinstance(each, dict):
            yield Device(_text(each.get("source")), _text(each.get("target")), _text(each.get("permissions")))
        else:
            host, _, rest = _text(each).partition(":")
            inside, _, permissions = rest.partition(":")
            if host.startswith("/"):  # others are names of CDI
                yield Device(host, inside or host, permissions or "rwm")


def _requests(service: Mapping[str, Any]) -> Iterator[DeviceRequest]:
    reservations = _map(_map(_map(service.get("deploy")).get("resources")).get("reservations"))
    given = reservations.get("devices")
    more = service.get("gpus")
    if more == "all":
        yield DeviceRequest("nvidia", -1, (), ("gpu",))
    for each in (*(given if isinstance(given, list) else ()), *(more if isinstance(more, list) else ())):
        entry = _map(each)
        count, ids = entry.get("count"), texts(entry.get("device_ids"))
        number = -1 if count == "all" or (count is None and not ids) else int(_number(count))
        capabilities = texts(entry.get("capabilities")) or (("gpu",) if more else ())
        yield DeviceRequest(_text(entry.get("driver")), number, ids, capabilities)


def _ulimits(given: Any) -> Iterator[Ulimit]:
    for name, each in _map(given).items():
        soft, hard = (each.get("soft"), each.get("hard")) if isinstance(each, dict) else (each, each)
        yield Ulimit(str(name), int(_number(soft)), int(_number(hard)))
