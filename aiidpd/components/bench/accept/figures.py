"""From records of requests to the figures that criteria are about (pure)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.components.bench.accept.verdict import Measured
from aiidpd.components.bench.stats import DECODE, TTFT, BenchSample, percentile

FEWEST_FOR_P95: Final = 20
"""Samples below which the 95th percentile is no other than the largest."""
_MOSTLY: Final = 0.5
_OUT_OF_MEMORY: Final = re.compile(r"out of memory|out_of_memory|OutOfMemory", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """Request that gave no answer: its label, and the reason."""

    fault: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of several requests at once; times in monotonic seconds, None where it failed."""

    started: float | None = None
    ended: float | None = None
    ttft: float | None = None
    output_tokens: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Requests at once. ``short`` is why fewer were on the wire than were asked for, else empty."""

    outcomes: tuple[Outcome, ...]
    short: str = ""


def alone(samples: Sequence[BenchSample], failures: Sequence[Failure]) -> dict[str, Measured]:
    """Return the figures of requests one at a time."""
    found = {}
    first = sorted(each.ttft_seconds for each in samples if each.ttft_seconds is not None)
    pace = sorted(
        each.output_tokens_per_second for each in samples if each.output_tokens_per_second is not None
    )
    lost = _lost(samples, failures, TTFT)
    why = _why(samples, failures, len(first), lost)
    found["ttft_p50"] = _percentile(first, 0.5, why)
    found["ttft_p95"] = _percentile(first, 0.95, why, none=lost)
    lost = _lost(samples, failures, DECODE)
    found["tokens_per_second"] = _percentile(pace, 0.5, _why(samples, failures, len(pace), lost))
    return found


def together(rounds: Sequence[Round]) -> dict[str, Measured]:
    """Return the figures of requests at once, over all ``rounds``."""
    outcomes = [each for one in rounds for each in one.outcomes]
    short = next((one.short for one in rounds if one.short), "")
    if short or not outcomes:
        missing = Measured(reason=short or "there was no round of requests at once")
        return dict.fromkeys(
            ("concurrent_success", "concurrent_ttft_p95", "concurrent_tokens_per_second"), missing
        )
    failed = [each.failure for each in outcomes if each.failure is not None]
    good = len(outcomes) - len(failed)
    words = failures_in_words(failed)
    first = sorted(each.ttft for each in outcomes if each.ttft is not None)
    return {
        "concurrent_success": Measured(good / len(outcomes), words, len(outcomes)),
        "concurrent_ttft_p95": _percentile(
            first, 0.95, none=words if first else words or "no answer had a first token"
        ),
        "concurrent_tokens_per_second": _speed(rounds, words),
    }


def error_rate(requests: int, failures: Sequence[Failure]) -> Measured:
    """Return the share of all ``requests`` that failed."""
    if not requests:
        return Measured(reason="no request was made")
    return Measured(len(failures) / requests, failures_in_words(failures), requests)


def memory_failures(failures: Iterable[Failure]) -> int:
    """Return how many of ``failures`` name a lack of memory as their reason."""
    return sum(bool(_OUT_OF_MEMORY.search(each.reason)) for each in failures)


def failures_in_words(failures: Sequence[Failure]) -> str:
    """Return which failures there were, and the reason of the first; empty where there were none."""
    if not failures:
        return ""
    counts = Counter(each.fault for each in failures)
    kinds = ", ".join(f"{count} {fault}" for fault, count in counts.most_common(3))
    return f"{kinds}: {failures[0].reason}"


def _lost(samples: Sequence[BenchSample], failures: Sequence[Failure], figure: str) -> str:
    """Return why requests did not give ``figure``, the first reason of several; empty where all gave it."""
    reasons = [each.reason for sample in samples for each in sample.withheld if each.figure == figure]
    return reasons[0] if reasons else failures_in_words(failures)


def _why(samples: Sequence[BenchSample], failures: Sequence[Failure], known: int, lost: str) -> str:
    """Return why a figure is none: too few requests gave it; empty where enough did."""
    tried = len(samples) + len(failures)
    return "" if tried and known / tried > _MOSTLY else lost or "no request was made"


def _percentile(ordered: Sequence[float], share: float, why: str = "", *, none: str = "") -> Measured:
    """Return a percentile; none where there is a reason ``why``, and ``none`` for why there are too few."""
    if why or not ordered:
        return Measured(reason=why or none, samples=len(ordered))
    if share > _MOSTLY and len(ordered) < FEWEST_FOR_P95:
        few = f"a p95 needs {FEWEST_FOR_P95} requests, and {len(ordered)} gave a figure"
        return Measured(reason=": ".join(filter(None, (few, none))), samples=len(ordered))
    return Measured(percentile(ordered, share), samples=len(ordered))


def _speed(rounds: Sequence[Round], why: str) -> Measured:
    """Return the output tokens a second of all requests together, over the time that rounds took."""
    tokens, seconds, samples = 0, 0.0, 0
    for one in rounds:
        good = [each for each in one.outcomes if each.started is not None and each.ended is not None]
        if not good:
            continue
        if any(each.output_tokens is None for each in good):
            return Measured(reason="the server reported no usage, and chunks are not tokens")
        tokens += sum(each.output_tokens or 0 for each in good)
        seconds += max(each.ended or 0.0 for each in good) - min(each.started or 0.0 for each in good)
        samples += len(good)
    if not seconds or not samples:
        return Measured(reason=why or "no request was answered")
    return Measured(tokens / seconds, samples=samples)
