"""Names near to one that is not there."""

from __future__ import annotations

from aiidpd.components.containers.names import near

KNOWN = ["aiidpd-u1", "vllm-openai", "embeddings", "vllm-openai-2"]


def test_names_that_contain_it_come_before_those_that_are_alike() -> None:
    assert near("u1", KNOWN) == ["aiidpd-u1"]
    assert near("openai", KNOWN)[:2] == ["vllm-openai", "vllm-openai-2"]
    assert near("vlm-openai", KNOWN)[0] == "vllm-openai"


def test_what_is_like_none_and_a_name_without_end_have_none() -> None:
    assert near("", KNOWN) == []
    assert near("x" * 100_000, KNOWN) == []
