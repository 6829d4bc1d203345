"""JSON of Docker's API, as Docker and Podman write it, to this room's types (pure).

Raises ValueError on what neither would send. Whatever a person chose (names, labels, images, words of an
error) is bounded here, and what names a container holds no control characters. Texts are interned, since
containers of one image or project have most of them in common.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from sys import intern
from typing import Any, Final

from aiidpd.components.containers.docker.inspection import inspection
from aiidpd.components.containers.runtime import ACTIONS, ContainerReading, RuntimeEvent
from aiidpd.contracts.containers import Mount

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|([+-])(\d\d):(\d\d))", re.ASCII
)

_LABELS = ("aiidpd.", "com.docker.compose.")
_LONGEST_NAME = 256  # characters
_LONGEST_ERROR = 2000
_LONGEST_VALUE = 8192
_MOST_LABELS = 64
_MOST_VALUES = 1024
_STATES = {  # Podman's words, where they differ
    "configured": "created",
    "initialized": "created",
    "stopping": "running",
    "stopped": "exited",
}
_IDENTITY = re.compile(r"[0-9A-Za-z_.-]{1,128}", re.ASCII)
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
        status = name(_STATES.get(status, status))
        labels = config.get("Labels") or {}
        health = state.get("Health") or state.get("Healthcheck") or {}
        said = str(health.get("Status") or "none")
        gpu, environment = _wants_gpu(host), _environment(config.get("Env") or ())
        arguments = tuple(
            map(_value, (data.get("Path") or "", *islice(data.get("Args") or (), _MOST_VALUES)))
        )
        return ContainerReading(
            id=identity(data["Id"]),
            name=name(str(data["Name"]).removeprefix("/")),
            image=name(config.get("Image") or data.get("Image") or ""),
            state=status,
            health=_health(status, said, health),
            exit_code=None if status in ("created", "running", "paused") else int(state["ExitCode"]),
            oom_killed=bool(state.get("OOMKilled")),
            restart_count=int(data.get("RestartCount") or 0),
            started_at=parse_time(state["StartedAt"]),
            finished_at=parse_time(state["FinishedAt"]),
            project=name(labels.get("com.docker.compose.project", "")),
            service=name(labels.get("com.docker.compose.service", "")),
            restart_policy=name((host.get("RestartPolicy") or {}).get("Name") or "no"),
            gpu=gpu,
            checked=said != "none",
            pid=int(state.get("Pid") or 0) or None,
            error=_printable(str(state.get("Error") or "")[:_LONGEST_ERROR]),
            network_mode=name(host.get("NetworkMode") or ""),
            mounts=tuple(
                Mount(
                    _value(each["Source"]),
                    _value(each.get("Destination") or ""),
                    each.get("RW") is False,
                )
                for each in islice(data.get("Mounts") or (), _MOST_VALUES)
                if each.get("Source")
            ),
            execs=len(data.get("ExecIDs") or ()),
            failing_streak=int(health.get("FailingStreak") or 0),
            image_id=name(data.get("Image") or ""),
            labels=_ours(labels),
            arguments=arguments,
            environment=environment,
            addresses=_addresses(data.get("NetworkSettings") or {}, config.get("ExposedPorts") or {}),
            inspection=inspection(
                data,
                gpu=gpu,
                running=status in ("running", "paused"),
                arguments=arguments,
                environment=environment,
            ),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a container's description: {error!r:.200}") from error


def identity(text: object) -> str:
    """Return ``text`` as a container's id."""
    if not isinstance(text, str) or not _IDENTITY.fullmatch(text):
        raise ValueError(f"not an id: {text!r:.60}")
    return text


def name(text: object) -> str:
    """Return ``text`` as what names something: of bounded length, printable, and apart from other names."""
    whole = str(text)
    if len(whole) <= _LONGEST_NAME:
        return intern(_printable(whole))
    mark = hashlib.sha256(whole.encode(errors="replace")).hexdigest()[:8]
    return f"{_printable(whole[: _LONGEST_NAME - 9])}~{mark}"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _value(text: object) -> str:
    """Return ``text`` in bounded length and as what can be written down."""
    return intern(str(text)[:_LONGEST_VALUE].encode(errors="replace").decode())


def _ours(labels: Mapping[str, Any]) -> dict[str, str]:
    wanted = sorted(str(key) for key in labels if str(key).startswith(_LABELS))
    return {name(key): _value(labels[key]) for key in wanted[:_MOST_LABELS]}


def _health(status: str, said: str, health: Mapping[str, Any]) -> str | None:
    # Docker calls every check that it stopped (the container ended or is paused) unhealthy, until
    # the next probe. Only a probe that failed makes one unhealthy here.
    suspended = said == "unhealthy" and not health.get("FailingStreak")
    if status != "running" or suspended or said not in ("healthy", "unhealthy", "starting"):
        return None
    return said


def _environment(entries: Iterable[object]) -> dict[str, str]:
    pairs = (_value(entry).partition("=") for entry in islice(entries, _MOST_VALUES))
    return {intern(key): intern(value) for key, _, value in pairs}


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
        action = _ACTIONS.get(action, action)
        if data["Type"] != "container" or action not in ACTIONS:
            return None
        actor = data["Actor"]
        attributes = actor.get("Attributes") or {}
        code = attributes.get("exitCode")
        return RuntimeEvent(
            time=int(data["timeNano"]) / 1e9,
            action=action,
            id=identity(actor["ID"]),
            name=name(attributes.get("name", "")),
            image=name(attributes.get("image", "")),
            exit_code=None if code is None else int(code),
            detail=name(detail.strip() or attributes.get("health_status") or attributes.get("signal", "")),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an event: {error!r:.200}") from error


_ACTIONS: Final = {"remove": "destroy"}  # Podman's words, where they differ
FOLLOWED: Final = (*ACTIONS, *_ACTIONS)
"""Names of the events that are followed, as the API has them."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One entry of ``GET /containers/json``: what changes in it when the details have changed.

    ``text`` is the state in words for people, without the age in it, whose bounds (seconds) are ``age``. A
    restart gives every endpoint a new id, and another age where there is no endpoint.
    """

    name: str
    state: str
    health: str | None
    text: tuple[object, ...]
    age: tuple[float, float] | None

    def fits(self, reading: ContainerReading, now: float) -> bool:
        """Return whether ``reading`` can be what is shown at ``now`` (Unix seconds).

        It was made after an entry of the same words, so it may show what came and went between the two.
        """
        if reading.state != self.state or (reading.health or self.health) != self.health:
            return False
        if self.age is None:
            return True
        began = reading.started_at if reading.running else reading.finished_at
        return began is not None and self.age[0] - _SLACK <= now - began <= self.age[1] + _SLACK


def summary(entry: Mapping[str, Any]) -> Summary:
    """Return the summary in one entry of ``GET /containers/json``."""
    try:
        names = tuple(map(name, islice(entry.get("Names") or (entry["Id"],), 16)))
        networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
        endpoints = tuple(
            sorted(str((network or {}).get("EndpointID"))[:128] for network in networks.values())
        )
        status = str(entry.get("Status") or "")[:_LONGEST_NAME]
        image, state = name(entry.get("Image")), name(entry.get("State"))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of containers: {error!r:.200}") from error
    text = (names, image, state, _AGE.sub("AGE", status, count=1), endpoints)
    health = _SAID.search(status)
    return Summary(
        names[0].removeprefix("/"),
        _STATES.get(state, state),
        health[1] if health else None,
        text,
        age(status),
    )


_AGE: Final = re.compile(
    r"Less than a second|About an? (minute|hour)|(\d{1,6}) (second|minute|hour|day|week|month|year)s?",
    re.ASCII,
)
_SAID: Final = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_HOUR: Final = 3600.0
_UNITS: Final = {  # seconds; from hours on they are rounded to the nearest hour
    "second": 1.0,
    "minute": 60.0,
    "hour": _HOUR,
    "day": 24 * _HOUR,
    "week": 7 * 24 * _HOUR,
    "month": 30 * 24 * _HOUR,
    "year": 365 * 24 * _HOUR,
}
_SLACK: Final = 2.0  # seconds that the answer takes


def age(status: str) -> tuple[float, float] | None:
    """Return the bounds (seconds) of the age in words in ``status``, None where there is none."""
    match = _AGE.search(status)
    if match is None:
        return None
    if match[1]:
        return _UNITS[match[1]], (120.0 if match[1] == "minute" else 1.5 * _HOUR)
    if match[2] is None:
        return 0.0, 1.0
    unit, number = _UNITS[match[3]], int(match[2])
    rounded = _HOUR / 2 if unit >= _HOUR else 0.0
    return unit * number - rounded, unit * (number + 1) + (0.0 if unit > _HOUR else -rounded)
