"""A container runtime in memory that acts as Docker does, for what no real one does on demand."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from aiidpd.components.containers.actions import Refused

IMAGE = "sha256:" + "1" * 64


class MemoryActions:
    """Containers by their ids. Names are unique, and one that runs can't be removed.

    ``fails_to_start`` has the ids of those that do not start, ``ends`` of those that end at once. Images,
    networks and volumes exist unless they are in ``missing``.
    """

    simulated = False

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.missing: set[str] = set()
        self.fails_to_start: set[str] = set()
        self.ends: set[str] = set()
        self.layer = 0
        self.tag = IMAGE
        self.calls: list[str] = []
        self._numbers = itertools.count(1)
        self._runs = itertools.count(1)

    def add(self, name: str, body: Mapping[str, Any], status: str = "created") -> str:
        """Add a container; return its id."""
        if any(each["Name"] == f"/{name}" for each in self.containers.values()):
            raise self._refusal(f"the name {name} is in use")
        config = {key: value for key, value in body.items() if key not in ("HostConfig", "NetworkingConfig")}
        host = {"NetworkMode": "default", **body.get("HostConfig", {})}
        endpoints = body.get("NetworkingConfig", {}).get("EndpointsConfig", {"bridge": {}})
        identity = f"{next(self._numbers):064x}"
        self.containers[identity] = {
            "Id": identity,
            "Name": f"/{name}",
            "Image": IMAGE,
            "Config": {"Image": "model:1", "Hostname": identity[:12], **copy.deepcopy(config)},
            "HostConfig": copy.deepcopy(host),
            "State": {"Status": status, "StartedAt": "", "ExitCode": 0, "Error": ""},
            "Mounts": [],
            "NetworkSettings": {"Networks": copy.deepcopy(endpoints)},
        }
        if status == "running":
            self._begin(self.containers[identity])
        return identity

    def holder(self, name: str) -> dict[str, Any] | None:
        """Return the container that has just this name."""
        return next((each for each in self.containers.values() if each["Name"] == f"/{name}"), None)

    def restart_engine(self) -> None:
        """Start whatever ``always`` is to run, as an engine does that comes back."""
        for each in self.containers.values():
            if each["HostConfig"].get("RestartPolicy", {}).get("Name") == "always":
                self._begin(each)

    async def describe(self, identity: str, *, size: bool = False) -> Mapping[str, Any] | None:
        found = self.containers.get(identity) or self.holder(identity)
        if found is None:
            return None
        return {**copy.deepcopy(found), **({"SizeRw": self.layer} if size else {})}

    async def start(self, identity: str) -> bool:
        found = self.containers.get(identity)
        if found is None or found["State"]["Status"] == "running":
            return False
        if identity in self.fails_to_start:
            raise self._refusal("no GPU")
        self._begin(found)
        return True

    async def stop(self, identity: str, grace: float) -> bool:  # noqa: ARG002 -- it ends at once
        found = self.containers.get(identity)
        if found is None or found["State"]["Status"] not in ("running", "restarting"):
            return False
        found["State"]["Status"] = "exited"
        return True

    async def rename(self, identity: str, name: str) -> bool:
        found = self.containers.get(identity)
        if found is None:
            return False
        if self.holder(name) not in (None, found):
            raise self._refusal(f"the name {name} is in use")
        found["Name"] = f"/{name}"
        return True

    async def remove(self, identity: str) -> bool:
        found = self.containers.get(identity)
        if found is None:
            return False
        if found["State"]["Status"] == "running":
            raise self._refusal("it runs")
        del self.containers[identity]
        return True

    async def create(self, name: str, body: Mapping[str, Any], *, image: str = "") -> str:  # noqa: ARG002
        return self.add(name, body)

    async def connect(self, network: str, identity: str, endpoint: Mapping[str, Any]) -> bool:
        found = self.containers.get(identity)
        if found is not None:
            found["NetworkSettings"]["Networks"][network] = dict(endpoint)
        return found is not None

    async def disconnect(self, network: str, identity: str) -> bool:
        found = self.containers.get(identity)
        return found is not None and bool(found["NetworkSettings"]["Networks"].pop(network, None))

    async def labelled(self, labels: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
        return tuple(
            {"Id": each["Id"], "Names": [each["Name"]]}
            for each in self.containers.values()
            if all(label in _labels(each) for label in labels)
        )

    async def changes(self, identity: str) -> tuple[Mapping[str, Any], ...] | None:
        return () if identity in self.containers else None

    async def image(self, reference: str) -> Mapping[str, Any] | None:
        if reference in self.missing:
            return None
        return {"Id": reference if reference.startswith("sha256:") else self.tag, "Config": {}}

    async def network(self, reference: str) -> Mapping[str, Any] | None:
        return None if reference in self.missing else {"Name": reference}

    async def volume(self, name: str) -> Mapping[str, Any] | None:
        return None if name in self.missing else {"Name": name}

    async def logs(self, identity: str, *, lines: int, since: float = 0.0) -> bytes | None:
        raise NotImplementedError

    async def kill(self, identity: str, signal: str = "KILL") -> bool:
        raise NotImplementedError

    async def restart(self, identity: str, grace: float) -> bool:
        raise NotImplementedError

    async def execs(self, identity: str) -> tuple[Mapping[str, Any], ...]:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass

    def _begin(self, found: dict[str, Any]) -> None:
        ended = found["Id"] in self.ends
        found["State"] |= {
            "Status": "exited" if ended else "running",
            "StartedAt": f"run {next(self._runs)}",
            "ExitCode": 7 if ended else 0,
        }

    def _refusal(self, reason: str) -> Refused:
        return Refused("act on", "the engine", reason=reason)


def _labels(container: Mapping[str, Any]) -> set[str]:
    return {f"{key}={value}" for key, value in (container["Config"].get("Labels") or {}).items()}
