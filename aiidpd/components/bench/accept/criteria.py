"""Criteria of acceptance, and how their figures are measured (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aiidpd.components.bench.accept.quantities import Dimension, shown


class Bound(StrEnum):
    """Side on which a figure has to be. The last two are shares of what physics says of the machine."""

    BELOW = "below"
    AT_MOST = "at_most"
    ABOVE = "above"
    AT_LEAST = "at_least"
    OF_EXPECTED = "at_least_of_expected"
    OF_LEAST = "at_most_of_least"

    @property
    def derived(self) -> bool:
        """Return whether its limit follows from physics."""
        return self in (Bound.OF_EXPECTED, Bound.OF_LEAST)

    @property
    def limits_above(self) -> bool:
        """Return whether the figure may not be larger."""
        return self in (Bound.BELOW, Bound.AT_MOST, Bound.OF_LEAST)

    @property
    def sign(self) -> str:
        """Return the sign between figure and limit."""
        return {Bound.BELOW: "<", Bound.ABOVE: ">"}.get(self, "<=" if self.limits_above else ">=")

    def holds(self, value: float, limit: float) -> bool:
        """Return whether ``value`` is on the right side of ``limit``."""
        match self.sign:
            case "<":
                return value < limit
            case ">":
                return value > limit
            case "<=":
                return value <= limit
            case _:
                return value >= limit


FIGURES: Final[Mapping[str, Dimension]] = MappingProxyType(
    {
        "ttft_p50": Dimension.SECONDS,
        "ttft_p95": Dimension.SECONDS,
        "tokens_per_second": Dimension.TOKENS_PER_SECOND,
        "concurrent_success": Dimension.SHARE,
        "concurrent_ttft_p95": Dimension.SECONDS,
        "concurrent_tokens_per_second": Dimension.TOKENS_PER_SECOND,
        "error_rate": Dimension.SHARE,
        "exact_answers": Dimension.SHARE,
        "gpu_utilization": Dimension.SHARE,
        "out_of_memory": Dimension.COUNT,
    }
)
"""Figures that a criterion may be about. ``ttft_*`` and ``tokens_per_second`` are of one request alone."""
EXPECTED: Final = frozenset({"tokens_per_second"})
LEAST: Final = frozenset({"ttft_p50", "ttft_p95"})
UNDER_LOAD: Final = frozenset({"gpu_utilization", "out_of_memory"})


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion: ``figure`` is to be on the side ``bound`` of ``limit``, which is a share where derived.

    ``engine`` is the engine that it is for, empty for every one. ``required``: not measured is not passed.
    """

    name: str
    figure: str
    bound: Bound
    limit: float
    text: str = ""
    engine: str = ""
    required: bool = True

    @property
    def dimension(self) -> Dimension:
        """Return the kind of its figure."""
        return FIGURES[self.figure]

    def wanted(self, limit: float | None = None) -> str:
        """Return the condition in words and signs; ``limit`` is that of a derived one where it is known."""
        if not self.bound.derived:
            return f"{self.bound.sign} {shown(self.limit, self.dimension)}"
        share = shown(self.limit, Dimension.SHARE)
        of = f"{share} of {'the expected' if self.bound is Bound.OF_EXPECTED else 'the least'}"
        if limit is None:
            return f"{self.bound.sign} {of}"
        return f"{self.bound.sign} {shown(limit, self.dimension)} ({of})"


@dataclass(frozen=True, slots=True)
class Question:
    """Prompt with one right answer at temperature 0, which the answer equals or contains."""

    prompt: str
    answer: str
    contains: bool = False


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests one at a time: ``warm_up`` are not counted; times in seconds."""

    warm_up: int = 2
    count: int = 20
    prompt_tokens: int = 256
    answer_tokens: int = 64
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Requests at once."""

    streams: int = 8
    answer_tokens: int = 64


@dataclass(frozen=True, slots=True)
class Profile:
    """File of criteria. ``load_seconds`` is for how long as many streams go on; 0 for one round."""

    name: str
    criteria: tuple[Criterion, ...]
    text: str = ""
    requests: Requests = field(default_factory=Requests)
    concurrency: Concurrency = field(default_factory=Concurrency)
    load_seconds: float = 0.0
    questions: tuple[Question, ...] = ()

    def for_engine(self, engine: str) -> tuple[Criterion, ...]:
        """Return the criteria that are about ``engine``; where it is not known, those for every one."""
        return tuple(each for each in self.criteria if each.engine in ("", engine))
