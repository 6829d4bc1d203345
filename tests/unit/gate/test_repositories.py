from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.repositories import is_allowed, name_of, own_repository

ID = "sha256:" + "1" * 64
DIGEST = "sha256:" + "2" * 64
OWN = "docker.io/vllm/vllm-openai"
IMAGE = {
    "Id": ID,
    "RepoTags": ["vllm/vllm-openai:v2", "evil/x:1", "<none>:<none>"],
    "RepoDigests": [f"vllm/vllm-openai@{DIGEST}"],
}


def own(text: str, image: dict[str, Any] | None = None) -> str:
    return own_repository({"Config": {"Image": text}}, image)


def test_the_repository_of_a_container_is_that_of_its_image_s_name():
    assert own("vllm/vllm-openai:v1") == OWN
    assert own(f"docker.io/vllm/vllm-openai@{DIGEST}") == OWN
    assert own("Odd Name") == own("") == own_repository({}, None) == ""


def test_of_one_that_was_created_by_an_id_it_is_that_of_all_names():
    assert own(ID, {"RepoTags": ["a/b:1", "a/b:2"], "RepoDigests": [f"a/b@{DIGEST}"]}) == "docker.io/a/b"
    assert own(ID, IMAGE) == own(ID, {"RepoTags": None}) == own(ID) == ""


@pytest.mark.parametrize(
    ("repository", "patterns", "allowed"),
    [
        (OWN, (), True),
        ("docker.io/vllm/vllm", (), False),
        ("docker.io/vllm/vllm-openai-evil", (), False),
        ("ghcr.io/vllm/vllm-openai", (), False),
        ("ghcr.io/org/a", ("ghcr.io/org/*",), True),
        ("ghcr.io/org/a/b", ("ghcr.io/org/*",), True),
        ("ghcr.io/organ/a", ("ghcr.io/org/*",), False),
        ("xghcr.io/org/a", ("ghcr.io/org/*",), False),
        ("evil.io/ghcr.io/org/a", ("ghcr.io/org/*",), False),
        ("docker.io/library/x", ("docker.io/library/x",), True),
        ("docker.io/library/x", ("docker.io/x",), True),
        ("docker.io/library/xy", ("docker.io/x",), False),
    ],
)
def test_its_own_repository_and_those_that_are_named(
    repository: str, patterns: tuple[str, ...], allowed: bool
):
    assert is_allowed(repository, OWN, patterns) is allowed
    assert not is_allowed(repository, "", ())


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("vllm/vllm-openai:v2", "vllm/vllm-openai:v2"),
        (f"vllm/vllm-openai@{DIGEST}", f"vllm/vllm-openai@{DIGEST}"),
        (f"vllm/vllm-openai:v7@{DIGEST}", f"vllm/vllm-openai:v7@{DIGEST}"),
        (ID, "vllm/vllm-openai:v2"),
        ("vllm/vllm-openai:v3", None),
        (f"vllm/vllm-openai@{ID}", None),
        ("evil/x:1", None),
        (DIGEST, None),
        ("..", None),
    ],
)
def test_an_image_counts_by_a_name_that_the_engine_knows_it_by(wanted: str, found: str | None):
    named = name_of(IMAGE, wanted, lambda repository: repository == OWN)
    assert (None if named is None else named.text) == found


def test_an_id_of_no_allowed_repository_is_none():
    assert (
        name_of({**IMAGE, "RepoTags": ["evil/x:1"], "RepoDigests": []}, ID, lambda each: each == OWN) is None
    )
    assert name_of({**IMAGE, "RepoTags": None, "RepoDigests": None}, ID, lambda _: True) is None


names = st.sampled_from(
    ["vllm/vllm-openai:v1", "vllm/vllm-openai:v2", "evil/x:v2", f"evil/x@{DIGEST}", "<none>", ""]
)


@given(st.lists(names, max_size=4), st.lists(names, max_size=3), names | st.just(ID))
def test_whatever_names_it_has_only_an_allowed_one_counts(tags: list[str], digests: list[str], wanted: str):
    found = name_of({"Id": ID, "RepoTags": tags, "RepoDigests": digests}, wanted, lambda each: each == OWN)
    assert found is None or (found.repository == OWN and found.text in {*tags, *digests})
