"""Ollama (pure).

Sources, in ollama/ollama: ``PsHandler`` in ``server/routes.go``, which lists the scheduler's loaded models
and touches none; ``ProcessModelResponse`` in ``api/types.go``; OLLAMA_HOST and the port in
``envconfig/config.go``; ``OwnedBy``, the namespace of the model, in ``openai/openai.go``. It has no page
of figures. It loads a model with a request and unloads it when it was idle for OLLAMA_KEEP_ALIVE or
another needs the place, so that it always may sleep.
"""

from __future__ import annotations

from typing import Any, Final

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineReading, NotKnown
from aiidpd.engines.profile import (
    EngineProfile,
    Facts,
    Memory,
    Option,
    PageRequest,
    Poll,
    Version,
    always,
    as_count,
    as_list,
    as_mapping,
)
from aiidpd.engines.serving import may_sleep

NAME: Final = "ollama"
LOADED_MODELS: Final = "/api/ps"
NO_FIGURES: Final = "Ollama has no page of figures"
_TAG: Final = ":latest"


def poll(facts: Facts, memory: Memory, _now: float) -> Poll:
    """Request which models are loaded."""
    may = may_sleep(facts, memory, inferred=True)
    reply = yield PageRequest(LOADED_MODELS)
    if not reply.good:
        return EngineReading(reply.not_known(), NAME, may_sleep=may, busy=reply.busy), memory
    loaded = [
        each
        for each in as_list(as_mapping(reply.document).get("models"))
        if not facts.model or _same(each.get("name"), facts.model) or _same(each.get("model"), facts.model)
    ]
    reading = EngineReading(
        NotKnown(NO_FIGURES, lasting=False),
        NAME,
        Residency.LOADED if loaded else Residency.UNLOADED,
        may,
        model_bytes=_sum(each.get("size") for each in loaded) if loaded else None,
        model_gpu_bytes=_sum(each.get("size_vram") for each in loaded) if loaded else None,
    )
    return reading, memory


def _same(name: Any, model: str) -> bool:
    return isinstance(name, str) and name.removesuffix(_TAG) == model.removesuffix(_TAG)


def _sum(sizes: Any) -> int | None:
    counts = [as_count(each) for each in sizes]
    known = [each for each in counts if each is not None]
    return sum(known) if len(known) == len(counts) else None


PROFILE: Final = EngineProfile(
    NAME,
    images=(r"(.*/)?ollama/ollama",),
    programs=("ollama",),
    port=11434,
    poll=poll,
    owner="library",
    version=Version("/api/version", "version"),
    address=Option((), ("OLLAMA_HOST",)),
    sleeps=always,
)
