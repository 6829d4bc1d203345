from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.reference import Reference, canonical, is_identity, parse

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "whole", "short"),
    [
        ("vllm/vllm-openai:v1", "docker.io/vllm/vllm-openai:v1", "vllm/vllm-openai:v1"),
        ("vllm/vllm-openai", "docker.io/vllm/vllm-openai:latest", "vllm/vllm-openai:latest"),
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1"),
        ("ghcr.io/org/a_b/c-d:v1.2", "ghcr.io/org/a_b/c-d:v1.2", "ghcr.io/org/a_b/c-d:v1.2"),
        ("registry:5000/x", "registry:5000/x:latest", "registry:5000/x:latest"),
        ("localhost/x:1", "localhost/x:1", "localhost/x:1"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        (f"vllm@{DIGEST}", f"docker.io/library/vllm@{DIGEST}", f"vllm@{DIGEST}"),
        (f"vllm:v1@{DIGEST}", f"docker.io/library/vllm@{DIGEST}", f"vllm:v1@{DIGEST}"),
        ("nvcr.io/nvidia/tritonserver:24.01-py3", "nvcr.io/nvidia/tritonserver:24.01-py3", ""),
    ],
)
def test_it_is_read_as_the_engine_reads_it(text: str, whole: str, short: str):
    found = parse(text)
    assert found is not None
    assert (found.whole, found.text) == (whole, short or whole)


REFUSED = [
    *("", ":", "@", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "../a", "a/./b", "a/..", "a..b", "a:.."),
    *("Vllm", "vllm/Vllm", "GHCR.io/a/b", "Foo/bar", "a-", "a_", "a.", "a._b", "a___b", "a b", "a\tb", "a\n"),
    *("a\x00b", "a%2fb", "a?b", "a#b", "a\\b", "a;b", "a&b", "a:b:c", "a:", "a:b/", "a@b", "a:-b", "a: b"),
    *("ä", "\u0430/b", "a:ü", "http://a/b", "a.io:port/b", "a.io:/b"),
    *("a.io:123456/b", "-a.io/b", "a..io/b", "[::1]/a", "-a"),
    *(f"a@{DIGEST}0", f"a@{DIGEST[:-1]}", f"a@{DIGEST.upper()}", "a@sha512:" + "0" * 128, f"@{DIGEST}"),
    *(f"a@{DIGEST}@{DIGEST}", f"a@{DIGEST}:b", f"a:@{DIGEST}"),
    # What could lead to an image by its id.
    *(DIGEST, "sha256:ab", "sha256", "docker.io/library/sha256:ab", "sha512:ab", "ab" * 32, "ab" * 32 + ":1"),
    # What leads elsewhere by its familiar form.
    *("docker.io/a.b/c", "docker.io/localhost/c", "index.docker.io/a.io/b", "docker.io/docker.io/a"),
    *("a" * 256, "a.io/" + "b" * 252, "a:" + "b" * 129, "a" * 600),
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_everything_else_is_none(text: str):
    assert parse(text) is None


def test_a_whole_id_is_no_reference_and_canonical_as_it_is():
    assert is_identity(DIGEST)
    assert not is_identity(DIGEST[:-1])
    assert canonical(DIGEST) == DIGEST
    assert canonical("a.io/b") == "a.io/b:latest"
    assert canonical("A") is None


def _by_docker_s_rule(name: str) -> tuple[str, str]:
    """Split as Docker's own code does, which is looser in what it takes."""
    first, slash, rest = name.partition("/")
    if not slash or (not set(first) & {".", ":"} and first != "localhost"):
        domain, path = "docker.io", name
    else:
        domain, path = first, rest
    domain = "docker.io" if domain == "index.docker.io" else domain
    return domain, f"library/{path}" if domain == "docker.io" and "/" not in path else path


parts = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True)
registries = st.sampled_from(
    ["", "docker.io/", "index.docker.io/", "localhost/", "a.io/", "b:5000/", "x.y.z:1/"]
)
tags = st.just("") | st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
texts = st.tuples(
    registries,
    st.lists(parts, min_size=1, max_size=3).map("/".join),
    tags,
    st.sampled_from(["", f"@{DIGEST}"]),
).map("".join)


@given(texts)
def test_what_is_read_is_split_by_docker_s_rule_and_comes_back_the_same(text: str):
    found = parse(text)
    if found is None:
        return  # such as docker.io/a.b/c
    name = text.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    name = head if colon and "/" not in tag else name
    assert (found.registry, found.path) == _by_docker_s_rule(name)
    assert parse(found.text) == found
    assert canonical(found.text) == found.text
    again = parse(found.whole)
    assert again is not None
    assert (again.repository, again.version) == (found.repository, found.version)


@given(texts | st.text(max_size=40) | st.text(alphabet="aA.:/@-_%0 \n\t", max_size=12))
def test_whatever_comes_has_no_sign_that_leads_elsewhere(text: str):
    found = parse(text)
    if found is None:
        return
    assert isinstance(found, Reference)
    for each in (found.whole, found.text):
        assert re.fullmatch(r"[A-Za-z0-9._:/@-]{1,500}", each)
        assert ".." not in each.partition(":")[0]
        assert "//" not in each
        assert parse(each) is not None
    assert found.repository == found.repository.lower()
    assert found.version
