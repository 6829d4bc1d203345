"""Figures that inference engines report, and how they are named on an engine's page (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final, Protocol

from aiidpd.contracts.engines import Residency

_MOST_COUNT: Final = 2**53


@dataclass(frozen=True, slots=True)
class Series:
    """Series of a page for Prometheus: those named ``name`` whose labels include ``labels``. They sum."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the figures of one engine; None is what it does not report.

    ``steps`` moves with each decode step or batch, never only when a request ends. ``longest`` is the length
    of the longest sequence so far. ``finished`` counts the requests that ended, ``cut`` those of them that a
    limit on length ended. ``drafted`` and ``accepted`` are tokens of speculative decoding.
    ``counts_at_end``: the tokens of a request are counted when it ends; other engines count each as it is
    generated. ``awake`` is 0 while the engine sleeps.
    """

    running: Series | None = None
    waiting: Series | None = None
    generated: Series | None = None
    prompt: Series | None = None
    steps: Series | None = None
    longest: Series | None = None
    awake: Series | None = None
    finished: Series | None = None
    cut: Series | None = None
    drafted: Series | None = None
    accepted: Series | None = None
    counts_at_end: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every name."""
        every = (getattr(self, field.name) for field in fields(self))
        return tuple(dict.fromkeys(each.name for each in every if isinstance(each, Series)))


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a page."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Samples:
    """Wanted lines of a page."""

    samples: tuple[Sample, ...] = ()

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Samples:
        """Return those of ``samples``."""
        return cls(tuple(samples))

    def total(self, series: Series | None) -> int | None:
        """Return the sum of ``series``; None where there is none, or where one of them is no count."""
        if series is None:
            return None
        values = [
            each.value
            for each in self.samples
            if each.name == series.name and all(each.labels.get(key) == value for key, value in series.labels)
        ]
        if not values or not all(map(_is_count, values)):
            return None
        total = sum(values)
        return int(total) if _is_count(total) else None

    def has_any(self, names: Names) -> bool:
        """Return whether any figure of ``names`` is there, be it a count or not."""
        wanted = names.wanted
        return any(each.name in wanted for each in self.samples)


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """Figures of one poll of an engine; None is what it did not report. The tokens count from its start.

    ``uncounted_tokens`` is how many more than ``generated_tokens`` the running requests may have generated.
    ``steps`` moves with each decode step or batch. ``longest_prompt_tokens`` is of the running requests.
    """

    engine: str
    requests_running: int | None = None
    requests_waiting: int | None = None
    generated_tokens: int | None = None
    prompt_tokens: int | None = None
    uncounted_tokens: int | None = None
    steps: int | None = None
    longest_prompt_tokens: int | None = None
    requests_finished: int | None = None
    requests_cut: int | None = None
    draft_tokens: int | None = None
    accepted_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class NotKnown:
    """Reason why an engine's figures are not known; ``lasting`` where it will be the same soon after."""

    reason: str
    lasting: bool


@dataclass(frozen=True, slots=True)
class EngineReading:
    """One poll of an engine. ``engine`` is the name of its profile, empty where it is not known.

    ``may_sleep``: nothing that counts as use may be sent to it. ``busy``: it answered that it has too much to
    do. ``model_bytes`` and ``model_gpu_bytes`` are the size of the model in memory and the part of it in the
    GPU's memory, where the engine reports them.
    """

    figures: EngineFigures | NotKnown
    engine: str = ""
    residency: Residency = Residency.UNKNOWN
    may_sleep: bool = False
    busy: bool = False
    model_bytes: int | None = None
    model_gpu_bytes: int | None = None
    version: str = ""


@dataclass(slots=True)
class PollLoad:
    """Load that our polls put on an engine, since this began. ``bytes`` are those of its answers.

    ``pending_since`` is the monotonic second at which the request was sent that is not answered yet.
    """

    requests: int = 0
    seconds: float = 0.0
    bytes: int = 0
    pending_since: float | None = None


class EngineSource(Protocol):
    """One engine, as it shows itself."""

    @property
    def load(self) -> PollLoad:
        """Load that reading it was so far."""

    async def read(self) -> EngineReading:
        """Poll once, with one request at a time, and wait for the answers. Raises nothing of the engine's."""

    async def aclose(self) -> None:
        """Close the connections. Can be called twice; a read afterwards opens them again."""


def figures_of(engine: str, names: Names, samples: Samples) -> EngineFigures:
    """Return the figures of ``engine`` by its ``names``."""
    running = samples.total(names.running)
    return EngineFigures(
        engine,
        running,
        samples.total(names.waiting),
        samples.total(names.generated),
        samples.total(names.prompt),
        _uncounted(names, running, samples.total(names.longest)),
        samples.total(names.steps),
        requests_finished=samples.total(names.finished),
        requests_cut=samples.total(names.cut),
        draft_tokens=samples.total(names.drafted),
        accepted_tokens=samples.total(names.accepted),
    )


def _uncounted(names: Names, running: int | None, longest: int | None) -> int | None:
    """Return how many generated tokens the counter may lack while ``running`` requests run."""
    if running == 0:
        return 0
    if running is None:
        return None
    if not names.counts_at_end:
        return running  # the one that each is at
    return None if longest is None else running * longest


def _is_count(value: float) -> bool:
    return 0 <= value < _MOST_COUNT and value == int(value)
