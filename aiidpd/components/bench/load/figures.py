"""Figures of a load, from the records of its requests (pure)."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from aiidpd.components.bench.load.records import Record
from aiidpd.components.bench.stats import percentile

SHARES: Final = (0.5, 0.9, 0.95, 0.99)
_SENT_LATE: Final = 0.01  # seconds by which a request may leave late
_MAY_BE_LATE: Final = 0.01  # the share of requests that may be later
_MAY_BE_INVALID: Final = 0.05  # the share of requests whose times may be lost to the lateness of this process


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of ``count`` spans in seconds, None where there are too few; ``most`` is the largest."""

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Goals:
    """Limits that a request has to keep to be good, in seconds; None for no limit."""

    ttft: float | None = None
    tpot: float | None = None

    @property
    def limited(self) -> bool:
        """Return whether there is a limit."""
        return self.ttft is not None or self.tpot is not None


@dataclass(frozen=True, slots=True)
class Window:
    """Period that is measured, in monotonic seconds."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return max(0.0, self.end - self.begin)

    def has(self, moment: float) -> bool:
        """Return whether ``moment`` lies in it."""
        return self.begin <= moment < self.end


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """Figures of one load. Requests planned within the window count; rates are those within it.

    ``ttft`` begins when a request was sent, ``waited`` when it was planned to be. ``gaps`` are from a chunk
    to the next, and a chunk is not a token. ``good`` is the share of requests that kept the limits; None
    without limits. ``invalid`` is why this process was too late for its figures to count.
    """

    seconds: float
    requests: int
    answered: int
    cut: int
    faults: dict[str, int]
    reasons: dict[str, str]
    ttft: Spread
    waited: Spread
    gaps: Spread
    tpot: Spread
    whole: Spread
    late: Spread
    output_tokens_per_second: float | None
    total_tokens_per_second: float | None
    requests_per_second: float
    request_tokens_per_second: float | None
    """Median of output tokens over the whole time of a request."""
    prompt_tokens: float | None
    """Median."""
    output_tokens: float | None
    """Median."""
    cached_share: float | None
    """Share of the prompts' tokens that came from a cache."""
    good: float | None
    good_per_second: float | None
    unjudged: int
    """Requests of which the limits can't be said to be kept or not."""
    notes: tuple[str, ...] = ()
    invalid: str = ""

    @property
    def answered_share(self) -> float:
        """Return the share of the requests that ended which were answered."""
        ended = self.requests - self.cut
        return self.answered / ended if ended else 0.0


@dataclass(slots=True)
class _Tokens:
    output: float = 0.0
    prompt: float = 0.0
    uncounted: int = 0
    ratio: list[float] = field(default_factory=list)


def figures_of(records: Sequence[Record], window: Window, goals: Goals) -> LoadFigures:
    """Return the figures of ``records``."""
    counted = [each for each in records if window.has(each.planned)]
    answered = [each for each in counted if each.answered]
    streams = [each for each in answered if not each.page]
    tokens = _tokens(records, window)
    ended = sum(each.answered and each.ended is not None and window.has(each.ended) for each in records)
    judged = [met for each in counted if not each.cut and (met := _meets(each, goals)) is not None]
    good = sum(judged)
    even = (each.arrivals for each in streams if not each.uneven)
    gaps = array("d", (after - before for arrivals in even for before, after in pairwise(arrivals)))
    seconds = window.seconds
    prompts = [each for each in streams if each.prompt_tokens]
    cached = [each for each in prompts if each.cached_tokens is not None]
    known = not tokens.uncounted and seconds > 0
    return LoadFigures(
        seconds=seconds,
        requests=len(counted),
        answered=len(answered),
        cut=sum(each.cut for each in counted),
        faults=dict(Counter(each.fault for each in counted if each.fault).most_common()),
        reasons={each.fault: each.reason for each in reversed(counted) if each.fault},
        ttft=spread(each.ttft for each in streams),
        waited=spread(each.waited for each in streams),
        gaps=spread(gaps),
        tpot=spread(each.tpot for each in streams),
        whole=spread(each.whole for each in streams),
        late=spread(each.late for each in counted),
        output_tokens_per_second=tokens.output / seconds if known else None,
        total_tokens_per_second=(tokens.output + tokens.prompt) / seconds if known and prompts else None,
        requests_per_second=ended / seconds if seconds else 0.0,
        request_tokens_per_second=_median(
            each.output_tokens / each.whole for each in streams if each.output_tokens and each.whole
        ),
        prompt_tokens=_median(each.prompt_tokens for each in prompts if each.prompt_tokens),
        output_tokens=_median(each.output_tokens for each in streams if each.output_tokens is not None),
        cached_share=sum(each.cached_tokens or 0 for each in cached)
        / sum(each.prompt_tokens or 0 for each in cached)
        if cached
        else None,
        good=good / len(judged) if judged and goals.limited else None,
        good_per_second=good / seconds if judged and goals.limited and seconds else None,
        unjudged=sum(not each.cut for each in counted) - len(judged) if goals.limited else 0,
        notes=tuple(_notes(streams, tokens)),
        invalid=_invalid(counted, streams),
    )


def spread(values: Iterable[float | None]) -> Spread:
    """Return the percentiles of those ``values`` that are known; p95 needs 20 of them, p99 100."""
    ordered = sorted(each for each in values if each is not None)
    found = [
        percentile(ordered, share) if len(ordered) * (1 - share) >= 1 - 1e-9 or share == SHARES[0] else None
        for share in SHARES
    ]
    p50, p90, p95, p99 = found
    return Spread(len(ordered), p50, p90, p95, p99, ordered[-1] if ordered else None)


def _tokens(records: Iterable[Record], window: Window) -> _Tokens:
    """Return the tokens that came within ``window``, each answer's by the share of its chunks that did."""
    found = _Tokens()
    unknown: list[tuple[Record, int]] = []
    for each in records:
        inside = bisect_left(each.arrivals, window.end) - bisect_left(each.arrivals, window.begin)
        if inside and not each.fault:
            if each.output_tokens is None:
                unknown.append((each, inside))
            else:
                found.output += each.output_tokens * inside / len(each.arrivals)
                found.ratio.append(each.output_tokens / len(each.arrivals))
        if each.arrivals and window.has(each.arrivals[0]):
            found.prompt += (each.prompt_tokens or 0) - (each.cached_tokens or 0)
    ratio = _median(found.ratio)
    for each, inside in unknown:
        # Of an answer that was cut off there is no count; its chunks are as large as those of the others.
        if each.cut and ratio is not None:
            found.output += ratio * inside
        elif not each.cut:
            found.uncounted += 1
    return found


def _meets(record: Record, goals: Goals) -> bool | None:
    """Return whether ``record`` kept the limits, None where that can't be said."""
    if record.fault:
        return False
    if record.page or not goals.limited:
        return True
    pairs = [(record.waited, goals.ttft), (record.tpot, goals.tpot)]
    wanted = [(value, limit) for value, limit in pairs if limit is not None]
    if any(value is not None and value > limit for value, limit in wanted):
        return False
    # One token has no pace to be too slow.
    return None if any(value is None for value, _ in wanted) and record.output_tokens != 1 else True


def _notes(streams: Sequence[Record], tokens: _Tokens) -> Iterable[str]:
    cached = next((each.from_cache for each in streams if each.from_cache), "")
    if cached:
        count = sum(bool(each.from_cache) for each in streams)
        yield f"of {count} requests the first token is left out: {cached}"
    uneven = sum(each.uneven for each in streams)
    if uneven > max(2.0, _MAY_BE_INVALID * len(streams)):
        yield f"the gaps of {uneven} answers are left out: this process was late to read them"
    if tokens.uncounted:
        yield f"{tokens.uncounted} answers had no usage, and chunks are not tokens: no tokens a second"
    if streams and not any(each.tpot is not None for each in streams):
        yield "no answer told its time per output token: too short, or its tokens were not counted"


def _invalid(counted: Sequence[Record], streams: Sequence[Record]) -> str:
    late = sorted(each.late for each in counted if each.late is not None)
    over = sum(each > _SENT_LATE for each in late)
    if over > max(1.0, _MAY_BE_LATE * len(late)):
        return (
            f"{over} of {len(late)} requests left more than {_SENT_LATE * 1e3:g} ms late, up to "
            f"{late[-1] * 1e3:.3g} ms: this machine is too busy"
        )
    lost = [each.invalid for each in streams if each.invalid]
    if len(lost) > max(2.0, _MAY_BE_INVALID * len(streams)):
        return f"{len(lost)} of {len(streams)} answers: {lost[0]}"
    return ""


def _median(values: Iterable[float]) -> float | None:
    return percentile(sorted(values), 0.5)
