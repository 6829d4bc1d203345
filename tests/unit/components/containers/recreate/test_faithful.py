"""Containers that can't be created anew as they are, refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.recreate.faithful import LARGEST_LAYER, Facts, refusal, refusal_of_copy
from tests.unit.components.containers.recreate.recorded import original

IMAGE = {"Id": original()["Image"], "RepoDigests": [], "Config": {}}


def facts(**changes: Any) -> Facts:
    """Return the facts of the recorded container; ``host``, ``labels``, ``status``, ``size`` change it."""
    container = original()
    container["SizeRw"] = changes.pop("size", 1000)
    container["HostConfig"] |= changes.pop("host", {})
    container["Config"]["Labels"] |= changes.pop("labels", {})
    container["State"]["Status"] = changes.pop("status", "running")
    container |= changes.pop("container", {})
    return replace(Facts(container, IMAGE, container["Image"]), **changes)


def test_an_ordinary_one_is_not_refused() -> None:
    assert refusal(facts()) is None
    assert refusal_of_copy(facts()) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "paused"}, "it is paused"),
        ({"status": "dead"}, "it is dead"),
        ({"status": "removing"}, "it is removing"),
        (
            {"host": {"AutoRemove": True}},
            "it removes itself when it ends (--rm), so it could not be put back",
        ),
        ({"labels": {"com.docker.swarm.task": ""}}, "it is a task of a swarm, which creates it anew itself"),
        ({"labels": {"aiidpd.recreate": "by\x1bhand"}}, "its label aiidpd.recreate says 'by\\x1bhand'"),
        ({"labels": {"aiidpd.recreate.layer": "keep"}}, "its label aiidpd.recreate.layer says 'keep'"),
        (
            {"size": LARGEST_LAYER + 2**20},
            "65 MiB that it has written into its own layer would be lost",
        ),
        (
            {
                "size": 2**30,
                "changes": [
                    {"Path": "/root/.cache/models/hub/a", "Kind": 1},
                    {"Path": "/root/.cache/models/hub/b", "Kind": 1},
                    {"Path": "/tmp/c", "Kind": 1},
                    {"Path": "/etc", "Kind": 0},
                ],
            },
            "1024 MiB that it has written into its own layer (/root/.cache/models, /tmp/c) would be lost",
        ),
        ({"size": None}, "it is not known how much it has written into its own layer"),
    ],
)
def test_what_is_refused_by_every_way(changes: dict[str, Any], reason: str) -> None:
    found = refusal(facts(**changes))
    assert found is not None
    assert found.reason == reason
    assert found.remedy


def test_a_layer_that_may_go_is_no_reason() -> None:
    label = {"aiidpd.recreate.layer": "discard"}
    assert refusal(facts(labels=label, size=2**40)) is None
    assert refusal(facts(labels=label, size=None, changes=None)) is None


V2 = {"com.docker.compose.version": "2.27.0"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": None}, "its image is gone"),
        (
            {"host": {"Links": ["/db:/engine/db"]}},
            "it has legacy links (--link), which point into other containers",
        ),
        (
            {"container": {"Mounts": [{"Type": "cluster", "Destination": "/x"}]}},
            "it has a mount of type 'cluster', which can't be copied",
        ),
        (
            {"container": {"NetworkSettings": {"Networks": {}}}},
            "it was disconnected from all of its networks, and a new one would be connected again",
        ),
        ({"gone": (("network", "n"), ("volume", "v"))}, "its network n is gone"),
        (
            {
                "container": {
                    "Config": {"Volumes": {"/a:b": {}}},
                    "Mounts": [{"Type": "volume", "Name": "v", "Destination": "/a:b"}],
                }
            },
            "its volume at '/a:b' has a path with a colon, which can't be named",
        ),
        (
            {"labels": V2, "changes": [{"Path": "/settings", "Kind": 1}]},
            "/settings was added to it, which may be one of compose's configs or secrets",
        ),
        (
            {"labels": V2, "changes": [{"Path": "/run/secrets/key", "Kind": 1}]},
            "/run/secrets/key was added to it, which may be one of compose's configs or secrets",
        ),
        (
            {"labels": V2, "changes": [{"Path": "/etc/app.toml", "Kind": 1}]},
            "/etc/app.toml was added to it, which may be one of compose's configs or secrets",
        ),
    ],
)
def test_what_can_not_be_copied(changes: dict[str, Any], reason: str) -> None:
    assert refusal(facts(**changes)) is None
    found = refusal_of_copy(facts(**changes))
    assert found is not None
    assert found.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": V2, "changes": [{"Path": "/root", "Kind": 1}, {"Path": "/root/.cache", "Kind": 1}]},
        {"labels": V2, "changes": [{"Path": "/etc/ld.so.cache", "Kind": 1}, {"Path": "/tmp/x", "Kind": 1}]},
        {"labels": {"com.docker.compose.version": "1.29.2"}, "changes": [{"Path": "/settings", "Kind": 1}]},
        {"changes": [{"Path": "/settings", "Kind": 1}]},
        {"host": {"NetworkMode": "none"}, "container": {"NetworkSettings": {"Networks": {}}}},
    ],
)
def test_what_only_seems_so_is_copied(changes: dict[str, Any]) -> None:
    assert refusal_of_copy(facts(**changes)) is None


@pytest.mark.parametrize(
    ("name", "digests", "text"),
    [
        ("vllm:1", [], IMAGE["Id"]),
        ("vllm:1", ["vllm@sha256:22"], "vllm@sha256:22"),
        (
            "host:5000/vllm",
            ["host:5000/other@sha256:2", "host:5000/vllm@sha256:3"],
            "host:5000/vllm@sha256:3",
        ),
        ("vllm@sha256:9", ["vllm@sha256:9"], "vllm@sha256:9"),
        ("", [], IMAGE["Id"]),
    ],
)
def test_where_the_name_of_the_image_has_moved_its_digest_leads_to_it(
    name: str, digests: list[str], text: str
) -> None:
    moved = facts(tag="sha256:other", image={**IMAGE, "RepoDigests": digests})
    moved.container["Config"]["Image"] = name  # type: ignore[index]
    assert moved.image_text == text
    assert replace(moved, tag=str(IMAGE["Id"])).image_text == name


@given(
    st.dictionaries(st.text(), st.text()),
    st.lists(st.fixed_dictionaries({"Path": st.text(), "Kind": st.integers(0, 2)})),
)
def test_hostile_labels_and_paths_are_bounded(labels: dict[str, str], changes: list[dict[str, Any]]) -> None:
    given_facts = facts(labels={**labels, **V2}, changes=changes, size=2**40)
    for found in (refusal(given_facts), refusal_of_copy(given_facts)):
        assert found is None or len(found.reason) < 1000
