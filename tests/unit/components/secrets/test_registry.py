"""The registry: what can be noted about a key, and what can't."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.secrets.registry import (
    Format,
    KeyEntry,
    Registry,
    name_problem,
    path_problem,
    target_problem,
    url_problem,
    usual_bits,
    usual_format,
)
from aiidpd.platform.codec import Mismatch, compose, decoder, parse

ENTRY = KeyEntry(
    "VLLM_API_KEY", Format.VLLM, 256, 1.0, 1000, 1000, "http://127.0.0.1:8000", "container:vllm-gpu"
)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "http://localhost:8000/v1",
        "http://[::1]:8000",
        "https://models.example.org",
        "http://127.9.9.9",
    ],
)
def test_a_key_goes_to_this_machine_or_through_tls(url: str) -> None:
    assert url_problem(url) == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://192.168.1.5:8000", "in the clear"),
        ("http://models.example.org", "in the clear"),
        ("http://127.0.0.1.example.org", "in the clear"),
        ("http://user:secret@127.0.0.1:8000", "has no place"),
        ("http://127.0.0.1:8000/?key=1", "has no place"),
        ("http://127.0.0.1:99999", "is no URL"),
        ("http://[::1", "is no URL"),
        ("ftp://127.0.0.1", "no URL of a server"),
        ("127.0.0.1:8000", "no URL of a server"),
        ("http://", "no URL of a server"),
        ("http://127.0.0.1:8000/\n", "URL"),
    ],
)
def test_and_nowhere_else(url: str, words: str) -> None:
    assert words in url_problem(url)
    assert "secret" not in url_problem(url) or "user:secret" in url


@pytest.mark.parametrize("name", ["A", "VLLM_API_KEY", "my-key2"])
def test_names(name: str) -> None:
    assert name_problem(name) == ""


@pytest.mark.parametrize("name", ["", "../x", "a/b", "2a", ".a", "a b", "a" * 65, "ä", "-a"])
def test_no_names(name: str) -> None:
    assert name_problem(name)


@pytest.mark.parametrize("target", ["container:vllm-gpu", "unit:vllm.service", "unit:vllm@1.service"])
def test_targets(target: str) -> None:
    assert target_problem(target) == ""
    assert target_problem(target, user=True) == ""


@pytest.mark.parametrize("target", ["vllm", "pod:x", "container:", "unit:--all", "unit:a b", "daemon"])
def test_no_targets(target: str) -> None:
    assert target_problem(target)


def test_users_may_be_others_too() -> None:
    assert [target_problem(each, user=True) for each in ("daemon", "hand", "nobody")] == ["", "", ""]
    assert replace(ENTRY, users=()).callers == ("hand",)
    assert replace(ENTRY, users=("nobody",)).callers == ()


@pytest.mark.parametrize("path", ["relative", "/a/../b", "", "/a\nb", "/" + "a" * 1000])
def test_no_paths(path: str) -> None:
    assert path_problem(path)


def test_what_is_usual_goes_by_the_name() -> None:
    assert (usual_bits("ADMIN_KEY"), usual_bits("VLLM_API_KEY")) == (384, 256)
    assert usual_format("VLLM_API_KEY") is Format.VLLM
    assert usual_format("LLAMACPP_API_KEY") is Format.LLAMACPP
    assert usual_format("ADMIN_KEY") is Format.PLAIN


def test_files_have_the_names_that_servers_need() -> None:
    assert ENTRY.engine_file == "VLLM_API_KEY.yaml", "vLLM refuses other ends"
    assert (ENTRY.key_file, ENTRY.overlaps) == ("VLLM_API_KEY.key", True)
    plain = replace(ENTRY, format=Format.PLAIN)
    assert (plain.engine_file, plain.overlaps) == ("VLLM_API_KEY.key", False)


def test_a_registry_is_read_as_it_was_written() -> None:
    registry = Registry(1, (ENTRY, replace(ENTRY, name="B", users=("daemon",), copies=("/a/b",))))
    assert decoder(Registry)(parse(compose(registry))) == registry


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc/passwd"},
        {"uid": -5},
        {"uid": 2**40},
        {"bits": -1},
        {"url": "http://10.0.0.1"},
        {"engine": "pod:x"},
        {"users": ["x"]},
        {"copies": ["../x"]},
        {"copies": [f"/{place}" for place in range(33)]},
        {"more": 1},
        {"format": "other"},
    ],
)
def test_a_registry_that_somebody_has_changed_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(compose(Registry(1, (ENTRY,))))
    document["keys"][0] |= change
    with pytest.raises(Mismatch):
        decoder(Registry)(document)


def test_a_name_in_it_twice_or_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Registry(1, (ENTRY, replace(ENTRY, name="vllm_api_key"))).validate()
    with pytest.raises(ValueError, match="more than"):
        Registry(1, tuple(replace(ENTRY, name=f"K{place}") for place in range(300))).validate()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_document_is_a_registry_or_a_mismatch(document: Any) -> None:
    with pytest.raises(Mismatch):
        decoder(Registry)({"version": 1, "keys": [document]})
