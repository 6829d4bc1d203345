"""Conversation with an engine of which it is not known which one it is (pure)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Final

from aiidpd.contracts.engines import Residency
from aiidpd.engines import ollama
from aiidpd.engines.all import ENGINES
from aiidpd.engines.figures import EngineReading, NotKnown, Samples
from aiidpd.engines.profile import (
    EngineProfile,
    Facts,
    Kind,
    Memory,
    PageRequest,
    Reply,
    as_list,
    as_mapping,
)
from aiidpd.engines.serving import MODELS, may_sleep

VERSION: Final = "/api/version"  # Ollama's
METRICS: Final = "/metrics"


def identify(facts: Facts, memory: Memory) -> Generator[PageRequest, Reply, EngineProfile | EngineReading]:
    """Find out what it is, by pages that count as no use; return the engine, or why it is not known."""
    listed = yield PageRequest(MODELS)
    if listed.good:
        entries = as_list(as_mapping(listed.document).get("data"))
        owners = {each.get("owned_by") for each in entries}
        for profile in ENGINES:
            if profile.owner and profile.owner in owners:
                return profile
    elif not listed.absent:
        return _reading(listed.not_known(), facts, memory, busy=listed.busy)
    version = yield PageRequest(VERSION)
    if version.good and isinstance(as_mapping(version.document).get("version"), str):
        return ollama.PROFILE
    page = yield PageRequest(METRICS, Kind.SAMPLES)
    if not page.good:
        return _reading(page.not_known(), facts, memory, busy=page.busy)
    found = of_page(page.samples or Samples())
    if found is None:
        reason = "its page has no figures of an engine that is known here"
        return _reading(NotKnown(reason, lasting=True), facts, memory)
    return found


def of_page(samples: Samples) -> EngineProfile | None:
    """Return the engine whose figures ``samples`` has."""
    return next((each for each in ENGINES if samples.has_any(each.names)), None)


def poll_engine(
    profile: EngineProfile | None, facts: Facts, memory: Memory, now: float
) -> Generator[PageRequest, Reply, tuple[EngineProfile | None, EngineReading, Memory]]:
    """Poll the engine of ``profile``, which is found out first where it is None; return it too."""
    if profile is None:
        found = yield from identify(facts, memory)
        if isinstance(found, EngineReading):
            return None, replace(found, may_sleep=found.may_sleep or memory.may_sleep), memory
        profile = found
    reading, memory = yield from profile.poll(facts, memory, now)
    if reading.residency is Residency.UNKNOWN:
        # One that does not answer is no other than before.
        return profile, replace(reading, may_sleep=reading.may_sleep or memory.may_sleep), memory
    return profile, reading, replace(memory, may_sleep=reading.may_sleep)


def _reading(reason: NotKnown, facts: Facts, memory: Memory, *, busy: bool = False) -> EngineReading:
    return EngineReading(reason, busy=busy, may_sleep=may_sleep(facts, memory, inferred=False))
