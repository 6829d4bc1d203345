"""Docker's JSON to this room's types (pure). Raises ValueError on what Docker would not send."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiidpd.components.containers.runtime import ACTIONS, ContainerReading, RuntimeEvent

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|([+-])(\d\d):(\d\d))", re.ASCII
)

_LABELS = ("aiidpd.", "com.docker.compose.")
_LONGEST_ERROR = 2000  # characters
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 -- published for everybody, so on loopback too


def parse_time(text: str) -> float | None:
    """Return Docker's RFC 3339 time (up to nanoseconds) in Unix seconds; None for Go's zero time.

    ``datetime.fromisoformat`` refuses nine digits, and a float keeps about a quarter of a
    microsecond of them today: enough to tell runs of a container apart.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r:.60}")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if year == 1:
        return None
    offset = timedelta()
    if match[8] != "Z":
        offset = timedelta(hours=int(match[10]), minutes=int(match[11])) * (-1 if match[9] == "-" else 1)
    try:
        whole = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - offset
    except OverflowError as error:
        raise ValueError(f"outside of the calendar: {text!r:.60}") from error
    return int(whole.timestamp()) + int((match[7] or "").ljust(9, "0")) / 1e9


def reading(data: Mapping[str, Any]) -> ContainerReading:
    """Return a reading from the answer of ``GET /containers/{id}/json``."""
    try:
        state, config, host = data["State"], data["Config"], data["HostConfig"]
        status = str(state["Status"])
        labels = config.get("Labels") or {}
        return ContainerReading(
            id=str(data["Id"]),
            name=str(data["Name"]).removeprefix("/"),
            image=str(config.get("Image") or data.get("Image") or ""),
            state=status,
            health=_health(status, state.get("Health") or {}),
            exit_code=None if status in ("created", "running", "paused") else int(state["ExitCode"]),
            oom_killed=bool(state.get("OOMKilled")),
            restart_count=int(data.get("RestartCount") or 0),
            started_at=parse_time(state["StartedAt"]),
            finished_at=parse_time(state["FinishedAt"]),
            project=str(labels.get("com.docker.compose.project", "")),
            service=str(labels.get("com.docker.compose.service", "")),
            restart_policy=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
            gpu=_wants_gpu(host),
            pid=int(state.get("Pid") or 0) or None,
            error=str(state.get("Error") or "")[:_LONGEST_ERROR],
            network_mode=str(host.get("NetworkMode") or ""),
            mounts=tuple(str(each["Source"]) for each in data.get("Mounts") or () if each.get("Source")),
            execs=len(data.get("ExecIDs") or ()),
            failing_streak=int((state.get("Health") or {}).get("FailingStreak") or 0),
            labels={str(key): str(labels[key]) for key in labels if str(key).startswith(_LABELS)},
            arguments=(str(data.get("Path") or ""), *map(str, data.get("Args") or ())),
            environment=_environment(config.get("Env") or ()),
            addresses=_addresses(data.get("NetworkSettings") or {}, config.get("ExposedPorts") or {}),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a container's description: {error!r}") from error


def _health(status: str, health: Mapping[str, Any]) -> str | None:
    said = health.get("Status")
    # Docker calls every check that it stopped (the container ended or is paused) unhealthy, until
    # the next probe. Only a probe that failed makes one unhealthy here.
    suspended = said == "unhealthy" and not health.get("FailingStreak")
    if status != "running" or suspended or said not in ("healthy", "unhealthy", "starting"):
        return None
    return str(said)


def _environment(entries: Iterable[str]) -> dict[str, str]:
    pairs = (str(entry).partition("=") for entry in entries)
    return {name: value for name, _, value in pairs}


def _addresses(network: Mapping[str, Any], exposed: Iterable[str]) -> dict[int, str]:
    """Return where each TCP port can be reached from the host: as published, else in the container itself."""
    networks = (network.get("Networks") or {}).values()
    own = next((each["IPAddress"] for each in networks if each and each.get("IPAddress")), None)
    found: dict[int, str] = {}
    published = network.get("Ports") or {}
    for key in (*published, *exposed):
        number, _, protocol = str(key).partition("/")
        if protocol not in ("", "tcp") or int(number) in found:
            continue
        binding = next(iter(published.get(key) or ()), None)
        if binding is not None:
            host = str(binding.get("HostIp") or "")
            host = "127.0.0.1" if host in _WILDCARDS else f"[{host}]" if ":" in host else host
            found[int(number)] = f"{host}:{int(binding['HostPort'])}"
        elif own is not None:
            found[int(number)] = f"{own}:{int(number)}"
    return found


def _wants_gpu(host: Mapping[str, Any]) -> bool:
    requests = host.get("DeviceRequests") or ()
    asked = any(
        request.get("Driver") == "nvidia"
        or any("gpu" in group for group in request.get("Capabilities") or ())
        for request in requests
    )
    return asked or host.get("Runtime") == "nvidia"


def event(data: Mapping[str, Any]) -> RuntimeEvent | None:
    """Return an event from one line of ``GET /events``; None for one that this room does not use."""
    try:
        action, _, detail = str(data["Action"]).partition(":")
        if data["Type"] != "container" or action not in ACTIONS:
            return None
        actor = data["Actor"]
        attributes = actor.get("Attributes") or {}
        code = attributes.get("exitCode")
        return RuntimeEvent(
            time=int(data["timeNano"]) / 1e9,
            action=action,
            id=str(actor["ID"]),
            name=str(attributes.get("name", "")),
            image=str(attributes.get("image", "")),
            exit_code=None if code is None else int(code),
            detail=detail.strip() or str(attributes.get("signal", "")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an event: {error!r}") from error


def fingerprint(summary: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what changes in one entry of ``GET /containers/json`` when its details have changed.

    ``Status`` is text for people ("Up 3 hours (healthy)"): it ages, so a long-running container is
    read again about once an hour and a new one about once a minute. A restart gives every endpoint
    a new id, which also shows where the text happens to be the same.
    """
    networks = (summary.get("NetworkSettings") or {}).get("Networks") or {}
    endpoints = tuple(sorted(str((network or {}).get("EndpointID")) for network in networks.values()))
    names = tuple(summary.get("Names") or ())
    return (names, summary.get("Image"), summary.get("State"), summary.get("Status"), endpoints)
