from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.copies import Copied, make_copy

ID = "ab" * 32
NAME = "vllm-aiidpd-new-0123abcd"
IMAGE = "sha256:" + "cd" * 32


class Engine:
    """Engine of which one image and one container are known; ``refusing`` answers such targets with 409."""

    def __init__(self, refusing: str = "nothing") -> None:
        self.calls: list[tuple[str, str, Mapping[str, Any] | None]] = []
        self.refusing = refusing
        self.image = IMAGE

    def fetch(self, method: str, target: str, document: Mapping[str, Any] | None) -> tuple[int, Any]:
        self.calls.append((method, target, document))
        if self.refusing in target:
            return 409, {"message": "no"}
        if target.startswith("/images/"):
            return 200, {"Id": IMAGE, "Config": {"Entrypoint": ["/start"]}}
        if target == f"/containers/{ID}/json":
            return 200, {"Id": ID, "Image": self.image}
        return (201, {"Id": ID}) if "/create" in target else (200, None)


def container(**host: Any) -> dict[str, Any]:
    return {
        "Id": "ef" * 32,
        "Name": "/vllm",
        "Image": IMAGE,
        "Config": {"Image": "vllm:1", "Env": ["A=b"], "Labels": {}, "Hostname": "h", "Entrypoint": None},
        "HostConfig": {"NetworkMode": "one", "Binds": ["/models:/models:ro"], **host},
        "NetworkSettings": {"Networks": {"one": {"Aliases": ["x"], "IPAddress": "10.0.0.2"}, "two": {}}},
        "Mounts": [],
    }


def test_a_copy_is_as_the_engine_describes_the_other():
    engine = Engine()
    assert make_copy(engine.fetch, container(), NAME) == Copied(ID)
    method, target, body = engine.calls[2]
    assert (method, target) == ("POST", f"/containers/create?name={NAME}")
    assert body is not None
    assert body["Env"] == ["A=b"]
    assert body["HostConfig"]["Binds"] == ["/models:/models:ro"]
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"one": {"Aliases": ["x"]}}}
    assert engine.calls[3:] == [
        ("GET", f"/containers/{ID}/json", None),
        ("POST", "/networks/two/connect", {"Container": ID, "EndpointConfig": {}}),
    ]


def test_a_copy_of_another_image_is_removed_at_once():
    engine = Engine()
    engine.image = "sha256:" + "99" * 32
    made = make_copy(engine.fetch, container(), NAME)
    assert made == Copied(status=409, reason="vllm:1 leads to another image by now")
    assert [call[0] for call in engine.calls[-2:]] == ["GET", "DELETE"]


def test_what_the_engine_refuses_is_said_and_nothing_is_left():
    assert make_copy(Engine("/images/").fetch, container(), NAME) == Copied(
        status=409, reason="its image is gone"
    )
    assert make_copy(Engine("/create").fetch, container(), NAME) == Copied(status=409, reason="no")
    engine = Engine("/connect")
    assert make_copy(engine.fetch, container(), NAME) == Copied(status=409, reason="no")
    assert engine.calls[-1] == ("DELETE", f"/containers/{ID}", None)


@pytest.mark.parametrize(
    "reference", ["../../containers/create", "a/../b", "x?y=1", "x#y", "x y", "x\r\ny", "\u00e9"]
)
def test_a_name_of_an_image_leads_nowhere_else(reference: str):
    engine = Engine()
    odd = container()
    odd["Config"]["Image"] = odd["Image"] = reference
    make_copy(engine.fetch, odd, NAME)
    for _, target, _ in engine.calls[:2]:
        assert ".." not in target
        assert not set(target) & set("?# \r\n\u00e9")
        assert target.endswith("/json")


@pytest.mark.parametrize("network", ["../create", "a/b?c", "x y"])
def test_a_name_of_a_network_leads_nowhere_else(network: str):
    engine = Engine()
    odd = container()
    odd["NetworkSettings"]["Networks"][network] = {}
    make_copy(engine.fetch, odd, NAME)
    targets = [target for _, target, _ in engine.calls if target.startswith("/networks/")]
    assert all(target.count("/") == 3 and not set(target) & set("? ") for target in targets)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(container(), values)))
def test_an_odd_description_is_a_copy_or_one_of_few_errors(changes: dict[str, Any]):
    with_changes = {**container(), **changes}
    try:
        make_copy(Engine().fetch, with_changes, NAME)
    except (KeyError, TypeError, ValueError, AttributeError):
        return  # the session answers 502
