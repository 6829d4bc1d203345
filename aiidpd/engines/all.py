"""Profiles of the inference engines: the only list of them, a line each (pure)."""

from __future__ import annotations

from typing import Final

from aiidpd.engines import llamacpp, llamaswap, ollama, sglang, tensorrt_llm, tgi, vllm
from aiidpd.engines.profile import EngineProfile

ENGINES: Final[tuple[EngineProfile, ...]] = (
    vllm.PROFILE,
    llamacpp.PROFILE,
    sglang.PROFILE,
    tgi.PROFILE,
    ollama.PROFILE,
    tensorrt_llm.PROFILE,
    llamaswap.PROFILE,
)


def profile_named(name: str) -> EngineProfile | None:
    """Return the profile ``name``, None where there is no such."""
    return next((each for each in ENGINES if each.name == name), None)
