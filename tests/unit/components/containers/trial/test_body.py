"""What a container was given is given to the new one; what its image brought comes from the new image."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from aiidpd.components.containers.trial.body import (
    beside,
    beside_refusal,
    body_with,
)

IMAGE: dict[str, Any] = {
    "Config": {
        "Env": ["PATH=/bin", "VERSION=1"],
        "Entrypoint": ["/serve"],
        "Cmd": ["--help"],
        "WorkingDir": "/app",
        "User": "vllm",
        "Labels": {"build": "1"},
        "ExposedPorts": {"8000/tcp": {}},
        "Volumes": {"/cache": {}},
        "Healthcheck": {"Test": ["CMD", "true"]},
    }
}


def container(**config: Any) -> dict[str, Any]:
    return {
        "Id": "a" * 64,
        "Image": "sha256:1",
        "Name": "/llm",
        "Config": {
            "Image": "llm:1",
            "Hostname": "a" * 12,
            **copy.deepcopy(IMAGE["Config"]),
            **config,
        },
        "HostConfig": {
            "NetworkMode": "default",
            "PortBindings": {"8000/tcp": [{"HostIp": "", "HostPort": "8000"}]},
            "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
        },
        "Mounts": [{"Type": "volume", "Name": "v" * 64, "Destination": "/cache"}],
        "NetworkSettings": {"Networks": {"bridge": {"Aliases": ["llm"]}}},
    }


def body(**config: Any) -> dict[str, Any]:
    return dict(body_with(container(**config), IMAGE, "llm:2").body)


def test_what_the_image_brought_is_left_to_the_new_one() -> None:
    found = body()
    assert found["Image"] == "llm:2"
    assert (found["Env"], found["Labels"], found["ExposedPorts"], found["Volumes"]) == ([], {}, {}, {})
    assert not {"Entrypoint", "Cmd", "WorkingDir", "User", "Healthcheck"} & {*found}


def test_what_was_given_is_given_again() -> None:
    found = body(
        Env=["PATH=/bin", "VERSION=mine", "HF_TOKEN=x"],
        Cmd=["--model", "m"],
        User="root",
        Labels={"build": "2"},
    )
    assert found["Env"] == ["VERSION=mine", "HF_TOKEN=x"]
    assert (found["Cmd"], found["User"], found["Labels"]) == (["--model", "m"], "root", {"build": "2"})
    assert "Entrypoint" not in found


def test_labels_that_permit_or_say_whose_it_is_are_given_though_the_image_brought_them() -> None:
    brought = {"aiidpd.upgrade": "allow", "com.docker.compose.service": "llm", "build": "1"}
    image = {"Config": {**IMAGE["Config"], "Labels": brought}}
    found = body_with(container(Labels=brought), image, "llm:2").body
    assert found["Labels"] == {"aiidpd.upgrade": "allow", "com.docker.compose.service": "llm"}
    assert beside(body_with(container(Labels=brought), image, "llm:2")).body["Labels"] == {}


def test_with_an_entrypoint_of_its_own_the_command_stays() -> None:
    found = body(Entrypoint=["/other"])
    assert (found["Entrypoint"], found["Cmd"]) == (["/other"], ["--help"])


def test_an_entrypoint_that_was_removed_stays_removed() -> None:
    assert body(Entrypoint=None)["Entrypoint"] == [""]


def test_an_anonymous_volume_is_handed_over() -> None:
    assert body()["HostConfig"]["Binds"] == [f"{'v' * 64}:/cache"]


def test_one_beside_has_other_ports_and_nothing_that_leads_users_to_it() -> None:
    given = container(
        Labels={"traefik.enable": "true", "aiidpd.engine": "vllm", "com.docker.compose.project": "p"}
    )
    found = beside(body_with(given, IMAGE, "llm:2")).body
    assert found["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert found["Labels"] == {"aiidpd.engine": "vllm"}
    assert found["NetworkingConfig"]["EndpointsConfig"] == {"bridge": {}}


@pytest.mark.parametrize(
    ("mode", "words"),
    [("host", "host's network"), ("none", "no network"), ("container:x", "no network"), ("my", "")],
)
def test_some_can_t_run_beside(mode: str, words: str) -> None:
    given = container()
    given["HostConfig"]["NetworkMode"] = mode
    assert words in beside_refusal(given)
    assert bool(beside_refusal(given)) is bool(words)
