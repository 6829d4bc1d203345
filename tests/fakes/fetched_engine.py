"""An engine in memory, as the gate calls it: containers and images by their descriptions."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

OWN = "docker.io/vllm/vllm-openai"
DIGEST = "sha256:" + "dd" * 32


def image_id(number: int) -> str:
    """Return the id of an image."""
    return f"sha256:{number:064x}"


class FetchedEngine:
    """Containers by name and images by id; ``tags`` leads from whole references to ids.

    ``before_create`` is called as a container is about to be made; ``refusing`` are targets that get 409.
    """

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, str] = {}
        self.containers: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.before_create: Callable[[], object] = lambda: None
        self.refusing = "nothing"
        self._numbers = itertools.count(1)

    def add_image(self, number: int, *tags: str, **config: Any) -> str:
        """Add an image with these tags, each a familiar one of Docker Hub or with its registry."""
        identity = image_id(number)
        digests = [f"{each.rpartition(':')[0]}@{DIGEST[:-4]}{number:04x}" for each in tags[:1]]
        self.images[identity] = {
            "Id": identity,
            "RepoTags": [*tags],
            "RepoDigests": digests,
            "Config": config,
        }
        for each in (*tags, *digests):
            self.tags[each if "." in each.partition("/")[0] else f"docker.io/{each}"] = identity
        return identity

    def run(self, name: str, text: str, image: str, **labels: str) -> dict[str, Any]:
        """Add a container that runs; underscores in the names of ``labels`` are dots."""
        identity = f"{next(self._numbers):064x}"
        self.containers[name] = {
            "Id": identity,
            "Name": f"/{name}",
            "Image": image,
            "Config": {
                "Image": text,
                "Labels": {key.replace("_", "."): each for key, each in labels.items()},
            },
            "HostConfig": {"NetworkMode": "one", "Binds": ["/models:/models:ro"], "Privileged": False},
            "NetworkSettings": {"Networks": {"one": {}, "two": {}}},
            "Mounts": [],
        }
        return self.containers[name]

    def fetch(self, method: str, target: str, document: Mapping[str, Any] | None) -> tuple[int, Any]:
        """Answer as an engine does."""
        self.calls.append((method, target))
        parts = urlsplit(target)
        path, query = unquote(parts.path), {key: each[0] for key, each in parse_qs(parts.query).items()}
        if self.refusing in path:
            return 409, {"message": "no"}
        if path.startswith("/images/"):
            text = path.removeprefix("/images/").removesuffix("/json")
            found = self.images.get(self.tags.get(text, text))
            return (
                (404, {"message": f"No such image: {text}"}) if found is None else (200, copy.deepcopy(found))
            )
        return self._of_containers(method, path, query, document or {})

    def _of_containers(
        self, method: str, path: str, query: Mapping[str, str], document: Mapping[str, Any]
    ) -> tuple[int, Any]:
        if path == "/containers/create":
            return self._create(query["name"], document)
        if path == "/containers/json":
            (part,) = json.loads(query["filters"])["name"]
            rows = [each for each in self.containers.values() if part.replace("\\", "") in each["Name"]]
            return 200, [{"Id": each["Id"], "Names": [each["Name"]]} for each in rows]
        if path.startswith("/networks/"):
            return 200, None
        key = path.removeprefix("/containers/").removesuffix("/json")
        named = next((name for name, each in self.containers.items() if key in (name, each["Id"])), None)
        if named is None:
            return 404, {"message": f"No such container: {key}"}
        if method == "DELETE":
            del self.containers[named]
            return 204, None
        return 200, copy.deepcopy(self.containers[named])

    def rename(self, name: str, wanted: str) -> None:
        """Give a container another name."""
        self.containers[wanted] = self.containers.pop(name)
        self.containers[wanted]["Name"] = f"/{wanted}"

    def _create(self, name: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        self.before_create()
        if name in self.containers:
            return 409, {"message": f"The container name {name} is already in use"}
        text = str(body["Image"])
        whole = text if "." in text.partition("/")[0] else f"docker.io/{text}"
        image = self.tags.get(whole, text)
        if image not in self.images:
            return 404, {"message": f"No such image: {text}"}
        identity = f"{next(self._numbers):064x}"
        config = {key: each for key, each in body.items() if key not in ("HostConfig", "NetworkingConfig")}
        brought = self.images[image]["Config"].get("Labels") or {}
        config["Labels"] = {**brought, **(config.get("Labels") or {})}
        self.containers[name] = {
            "Id": identity,
            "Name": f"/{name}",
            "Image": image,
            "Config": config,
            "HostConfig": copy.deepcopy(dict(body["HostConfig"])),
            "NetworkSettings": {"Networks": {"one": {}, "two": {}}},
            "Mounts": [],
        }
        return 201, {"Id": identity}
