from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.copies import Copied
from aiidpd.gate.images import choose, fetch_target, make_tried
from tests.fakes.fetched_engine import DIGEST, FetchedEngine, image_id

NEW = "vllm-aiidpd-new-0123abcd"
ONE, TWO = "vllm/vllm-openai:v1", "vllm/vllm-openai:v2"


@pytest.fixture
def engine() -> FetchedEngine:
    return made_engine()


def made_engine() -> FetchedEngine:
    engine = FetchedEngine()
    old = engine.add_image(1, ONE, Env=["VERSION=1"], Labels={"brought": "1"})
    engine.add_image(2, TWO, Env=["VERSION=2"])
    engine.add_image(3, "evil/x:1")
    engine.add_image(4, "ghcr.io/org/a:1")
    engine.run("vllm", ONE, old, aiidpd_upgrade="allow", brought="1")
    engine.containers["vllm"]["Config"] |= {"Env": ["VERSION=1", "MINE=1"], "Cmd": ["serve"]}
    return engine


def tried(
    engine: FetchedEngine,
    wanted: str,
    name: str = NEW,
    patterns: tuple[str, ...] = (),
    *,
    permitted: bool = True,
) -> Copied:
    container = engine.containers["vllm"]
    choice = choose(engine.fetch, container, wanted, patterns)
    if choice.status:
        return Copied(status=choice.status, reason=choice.reason)
    return make_tried(engine.fetch, container, choice, name, lambda _: permitted)


def test_it_is_as_the_other_but_for_its_image(engine: FetchedEngine):
    made = tried(engine, TWO)
    found = engine.containers[NEW]
    assert (made, found["Image"]) == (Copied(found["Id"]), image_id(2))
    assert found["Config"]["Image"] == TWO
    assert found["HostConfig"] == engine.containers["vllm"]["HostConfig"]
    assert (found["Config"]["Env"], found["Config"]["Cmd"]) == (["MINE=1"], ["serve"])
    assert found["Config"]["Labels"] == {"aiidpd.upgrade": "allow"}
    assert ("POST", "/networks/two/connect") in engine.calls


def test_one_beside_has_ports_of_its_own_and_no_permission(engine: FetchedEngine):
    engine.containers["vllm"]["HostConfig"]["PortBindings"] = {"8000/tcp": [{"HostIp": "", "HostPort": "80"}]}
    assert tried(engine, TWO, f"{NEW}-beside", permitted=False).identity
    found = engine.containers[f"{NEW}-beside"]
    assert found["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    assert found["Config"]["Labels"] == {}
    engine.containers["vllm"]["HostConfig"]["NetworkMode"] = "host"
    assert "host's network" in tried(engine, TWO, f"{NEW}-beside").reason


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("evil/x:1", 403),
        ("ghcr.io/org/a:1", 403),
        ("ghcr.io/vllm/vllm-openai:v2", 403),
        ("vllm/vllm-openai-evil:v2", 403),
        ("vllm/vllm:v2", 403),
        ("vllm:v2", 403),
        (image_id(3), 403),
        (image_id(4), 403),
        (image_id(9), 404),
        ("vllm/vllm-openai:v9", 404),
        (f"vllm/vllm-openai@{DIGEST}", 404),
    ],
)
def test_an_image_of_another_repository_is_refused_and_one_that_is_not_here(
    engine: FetchedEngine, wanted: str, status: int
):
    made = tried(engine, wanted)
    assert (made.status, made.identity) == (status, "")
    assert list(engine.containers) == ["vllm"]
    assert all(method == "GET" for method, _ in engine.calls)


def test_the_configuration_names_repositories_besides(engine: FetchedEngine):
    assert tried(engine, "ghcr.io/org/a:1", patterns=("ghcr.io/org/*",)).identity
    assert engine.containers[NEW]["Config"]["Image"] == "ghcr.io/org/a:1"


def test_an_id_is_used_by_the_name_that_allows_it(engine: FetchedEngine):
    engine.images[image_id(2)]["RepoTags"].insert(0, "evil/y:1")
    assert tried(engine, image_id(2)).identity
    # Else the evil one would be the repository of the container's own image from now on.
    assert engine.containers[NEW]["Config"]["Image"] == TWO


def test_a_tag_that_moves_between_check_and_use_is_noticed(engine: FetchedEngine):
    def move() -> None:
        engine.tags[f"docker.io/{TWO}"] = image_id(3)

    engine.before_create = move
    assert tried(engine, TWO) == Copied(status=409, reason=f"{TWO} leads to another image by now")
    assert list(engine.containers) == ["vllm"]


def test_a_description_that_does_not_know_the_name_counts_for_nothing(engine: FetchedEngine):
    engine.tags[f"docker.io/{TWO}"] = image_id(3)  # as an engine would that takes it for something else
    assert tried(engine, TWO).status == 403


def test_labels_that_would_not_permit_its_trial_are_seen_before(engine: FetchedEngine):
    made = tried(engine, TWO, permitted=False)
    assert (made.status, "come from its image" in made.reason) == (409, True)
    assert list(engine.containers) == ["vllm"]


def test_the_label_that_permits_is_given_again_though_the_old_image_brought_it(engine: FetchedEngine):
    engine.images[image_id(1)]["Config"]["Labels"]["aiidpd.upgrade"] = "allow"
    assert tried(engine, TWO).identity
    assert engine.containers[NEW]["Config"]["Labels"] == {"aiidpd.upgrade": "allow"}


@pytest.mark.parametrize("refusing", ["/containers/create", "/networks/two/connect"])
def test_what_the_engine_refuses_leaves_nothing(engine: FetchedEngine, refusing: str):
    engine.refusing = refusing
    assert tried(engine, TWO) == Copied(status=409, reason="no")
    assert list(engine.containers) == ["vllm"]


def test_without_its_own_image_there_is_none(engine: FetchedEngine):
    del engine.images[image_id(1)]
    assert tried(engine, TWO) == Copied(status=409, reason="its own image is gone")


def test_an_image_is_fetched_by_its_parts():
    assert fetch_target("busybox") == (("fromImage", "docker.io/library/busybox"), ("tag", "latest"))
    assert fetch_target(f"a.io/b:v@{DIGEST}") == (("fromImage", "a.io/b"), ("tag", DIGEST))
    assert fetch_target(DIGEST) is None
    assert fetch_target("A") is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)
SAMPLE = made_engine()


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(SAMPLE.containers["vllm"], values)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(SAMPLE.images[image_id(2)], values)),
)
def test_an_odd_description_is_one_of_few_errors_or_a_container_of_the_same_repository(
    container: Mapping[str, Any], image: Mapping[str, Any]
):
    engine = made_engine()
    engine.containers["vllm"] |= container
    engine.images[image_id(2)] |= image
    try:
        made = tried(engine, TWO)
    except (KeyError, TypeError, ValueError, AttributeError):
        return  # the session answers 502
    assert not made.identity or engine.containers[NEW]["Config"]["Image"] == TWO
