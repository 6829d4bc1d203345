"""Workloads by name: which requests users send, how long these are, and where that is from (pure).

Figures without a source of their own say so. Lengths are of tokens, waits of seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiidpd.components.bench.load.lengths import Lengths
from aiidpd.engines.chat import Form


class Content(StrEnum):
    """Kind of text that a prompt has."""

    PROSE = "prose"
    DOCUMENTS = "documents"
    CODE = "code"
    MODELS = "models"
    """No prompt: the list of models is requested."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request, sent as often as its ``weight`` says."""

    name: str
    prompt: Lengths
    answer: Lengths
    weight: float = 1.0
    content: Content = Content.PROSE
    form: Form = Form.CHAT


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one user, who waits from ``wait[0]`` to ``wait[1]`` seconds after each answer.

    ``turns`` are how many requests a conversation has, each with all that was said before; None for requests
    that have nothing to do with each other, of which each begins with a nonce. ``source``: where the figures
    are from.
    """

    name: str
    text: str
    source: str
    kinds: tuple[Kind, ...]
    wait: tuple[float, float] = (0.0, 0.0)
    turns: Lengths | None = None

    @property
    def waits(self) -> bool:
        """Return whether its users wait between two requests, so that not all are served at any time."""
        return self.wait[1] > 0


_SPREAD: Final = 0.8
_SPREAD_IS_OURS: Final = f"the spread ({_SPREAD:g} of the logarithm) is an assumption"
_LMSYS: Final = (
    "LMSYS-Chat-1M (Zheng et al., 2023, arXiv 2309.11998): 2.0 turns, 69.5 tokens a prompt and 214.5 an "
    "answer on average"
)
_AZURE: Final = "Azure LLM inference traces of 2023 (Patel et al., Splitwise, 2024, arXiv 2311.18677)"
_SEED: Final = "the load test of the seed system: kinds, weights and waits; the lengths are ours"

_CHAT: Final = Kind("turn", Lengths.by_mean(69.5, _SPREAD, 4, 2000), Lengths.by_mean(214.5, _SPREAD, 8, 2000))

_ALL: Final = (
    Workload(
        "chat",
        "conversations, each turn with all that was said before",
        f"{_LMSYS}; {_SPREAD_IS_OURS}, and so is the wait",
        (_CHAT,),
        wait=(1.0, 10.0),
        turns=Lengths.by_mean(2.0, _SPREAD, 1, 20),
    ),
    Workload(
        "soak",
        "conversations that go on for 64 turns, to find what fails at depth",
        f"lengths of {_LMSYS}; {_SPREAD_IS_OURS}; 64 turns are about 18,000 tokens",
        (_CHAT,),
        turns=Lengths(64),
    ),
    Workload(
        "rag",
        "questions about long documents, each new to the server",
        "LongBench (Bai et al., 2023, arXiv 2308.14508): 6,711 words on average in English, at 0.75 words a "
        f"token; {_SPREAD_IS_OURS}, and so are answers of 128 tokens",
        (
            Kind(
                "question",
                Lengths.by_mean(6711 / 0.75, _SPREAD, 500, 30_000),
                Lengths(128, _SPREAD, 8, 1000),
                content=Content.DOCUMENTS,
            ),
        ),
        wait=(1.0, 10.0),
    ),
    Workload(
        "code",
        "completions of code, long prompts with short answers",
        f"{_AZURE}, coding: 1,500 tokens a prompt and 13 an answer in the median; {_SPREAD_IS_OURS}",
        (
            Kind(
                "completion",
                Lengths(1500, _SPREAD, 50, 8000),
                Lengths(13, _SPREAD, 4, 400),
                content=Content.CODE,
                form=Form.COMPLETION,
            ),
        ),
        wait=(0.5, 3.0),
    ),
    Workload(
        "batch",
        "requests that nobody waits for, one after another without a pause",
        f"{_AZURE}, conversation: 1,020 tokens a prompt and 129 an answer in the median; {_SPREAD_IS_OURS}",
        (Kind("job", Lengths(1020, _SPREAD, 50, 8000), Lengths(129, _SPREAD, 8, 1500)),),
    ),
    Workload(
        "seed",
        "the seed system's users: short, medium and long completions, and the list of models",
        _SEED,
        (
            Kind("short", Lengths(20), Lengths(50), weight=3),
            Kind("medium", Lengths(60), Lengths(200), weight=2),
            Kind("long", Lengths(120), Lengths(500), weight=1),
            Kind("models", Lengths(1), Lengths(1), weight=1, content=Content.MODELS),
        ),
        wait=(1.0, 5.0),
    ),
    Workload(
        "seed-llama",
        "the seed system's users of llama.cpp's own /completion: quick ones, and hypotheses",
        _SEED,
        (
            Kind("quick", Lengths(20), Lengths(32), weight=4, form=Form.LLAMA_CPP),
            Kind("hypothesis", Lengths(100), Lengths(128), weight=2, form=Form.LLAMA_CPP),
        ),
        wait=(0.5, 2.0),
    ),
)
WORKLOADS: Final[Mapping[str, Workload]] = MappingProxyType({each.name: each for each in _ALL})
