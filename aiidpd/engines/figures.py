"""Figures that inference engines report, and their names for them (pure).

Sources: vllm/v1/metrics/loggers.py of vLLM (the same names from 0.5 on); the page of a llama-server started
with ``--metrics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the figures of one engine. Each may occur several times, with other labels: one sums.

    ``longest`` is the length of the longest sequence so far, named where the engine counts the tokens of a
    request only when that ends; the others count each as it is generated.
    """

    engine: str
    running: str
    waiting: str
    generated: str
    prompt: str
    longest: str = ""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every name."""
        every = (self.running, self.waiting, self.generated, self.prompt, self.longest)
        return tuple(name for name in every if name)


ENGINES: Final = (
    Names(
        "vllm",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
    ),
    Names(
        "llama.cpp",
        "llamacpp:requests_processing",
        "llamacpp:requests_deferred",
        "llamacpp:tokens_predicted_total",
        "llamacpp:prompt_tokens_total",
        "llamacpp:n_tokens_max",
    ),
)


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """One poll of an engine; None is what it did not report. The tokens are counters since its start.

    ``uncounted_tokens`` is how many more than ``generated_tokens`` the running requests may have generated.
    """

    engine: str
    requests_running: int | None = None
    requests_waiting: int | None = None
    generated_tokens: int | None = None
    prompt_tokens: int | None = None
    uncounted_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class NotKnown:
    """Reason why an engine's figures are not known; ``lasting`` where it will be the same soon after."""

    reason: str
    lasting: bool


class EngineSource(Protocol):
    """One endpoint's engine, as it shows itself."""

    async def read(self) -> EngineFigures | NotKnown:
        """Poll once. Takes no longer than its own bound; raises nothing, whatever the engine answers."""

    async def aclose(self) -> None:
        """Close the connections. Can be called twice; a read afterwards opens them again."""


def uncounted(names: Names, running: int | None, longest: int | None) -> int | None:
    """Return how many generated tokens the counter may lack while ``running`` requests run."""
    if running == 0:
        return 0
    if running is None:
        return None
    if not names.longest:
        return running  # the one that each is at
    return None if longest is None else running * longest
