"""Description of a real container (Docker 20.10) with many options, and of a copy of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any


def original() -> dict[str, Any]:
    """Return the description, which may be changed."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("inspect.json").read_text())
    return found


def created(body: dict[str, Any], connections: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a container that a faithful engine creates of ``body``, where ``old`` was."""
    body, new = copy.deepcopy(body), copy.deepcopy(old)
    new["Id"] = "c" * 64
    new["Name"] = "/copy"
    new["State"] = {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}
    new["HostConfig"] = body.pop("HostConfig")
    first = body.pop("NetworkingConfig", {"EndpointsConfig": {}})["EndpointsConfig"]
    new["Config"] = {"Hostname": "c" * 12, **body}
    new["NetworkSettings"]["Networks"] = {
        name: {"NetworkID": "", "IPAddress": "", "MacAddress": "", **copy.deepcopy(endpoint)}
        for name, endpoint in {**first, **connections}.items()
    }
    for endpoint in new["NetworkSettings"]["Networks"].values():
        endpoint["Aliases"] = [*(endpoint.get("Aliases") or ()), "c" * 12]
    return new
