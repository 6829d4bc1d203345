"""One request under load, as far as figures need it (pure)."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from aiidpd.components.bench.stats import DECODE, GAPS, LATE, TTFT, measure
from aiidpd.engines.faults import Fault
from aiidpd.engines.target import Timeline


@dataclass(frozen=True, slots=True)
class Record:
    """Request of a ``kind`` that was ``planned`` for a moment; times are monotonic, spans in seconds.

    ``fault`` and ``reason`` are why it failed; ``cut``: the load ended before its answer. A span is None
    where the answer does not support it. ``invalid`` is why this process was too late to measure it.
    """

    kind: str
    planned: float
    known: float
    """Moment at which its outcome was known."""
    late: float | None = None
    """By how much this process sent it late."""
    sent: float | None = None
    ended: float | None = None
    ttft: float | None = None
    tpot: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    """Moments at which chunks with text came."""
    fault: str = ""
    reason: str = ""
    cut: bool = False
    page: bool = False
    invalid: str = ""
    uneven: bool = False
    """Its chunks were read too late for the gaps between them to be known."""
    from_cache: str = ""
    """Why its first token says nothing: the prompt was known."""

    @property
    def answered(self) -> bool:
        """Return whether it has a whole answer."""
        return not self.fault and not self.cut

    @property
    def whole(self) -> float | None:
        """Return the seconds from the request to the end of its answer."""
        return (
            None if self.sent is None or self.ended is None or not self.answered else self.ended - self.sent
        )

    @property
    def waited(self) -> float | None:
        """Return the seconds from the planned moment to the first token: what a user waits."""
        return (
            None if self.ttft is None or self.sent is None else self.ttft + max(0.0, self.sent - self.planned)
        )


def failed(
    kind: str, planned: float, known: float, fault: Fault, reason: str, *, late: float | None
) -> Record:
    """Return the record of a request without an answer."""
    return Record(kind, planned, known, late=late, fault=fault.value, reason=reason)


def record_of(
    kind: str,
    planned: float,
    known: float,
    timeline: Timeline,
    *,
    late: float | None,
    growing: bool = False,
    page: bool = False,
    cut: bool = False,
) -> Record:
    """Return the record of an answer. In a ``growing`` conversation a cached prompt is no fault."""
    sample = measure(timeline)
    why = next((each.reason for each in sample.withheld if each.figure == TTFT), "")
    late_to_read = {each.figure: each.reason for each in sample.withheld if each.reason.startswith(LATE)}
    invalid = late_to_read.get(TTFT) or late_to_read.get(DECODE) or ""
    first = sample.ttft_seconds
    from_cache = ""
    if why and timeline.chunks and TTFT not in late_to_read:
        if growing:
            first = timeline.chunks[0].at - timeline.started
        else:
            from_cache = why
    return Record(
        kind=kind,
        planned=planned,
        known=known,
        late=late,
        sent=timeline.started,
        ended=timeline.ended,
        ttft=first,
        tpot=None if cut else sample.time_per_output_token_seconds,
        prompt_tokens=timeline.prompt_tokens,
        cached_tokens=timeline.cached_tokens,
        output_tokens=_tokens(timeline),
        arrivals=array("d", (each.at for each in timeline.chunks)),
        cut=cut,
        page=page,
        invalid=invalid,
        uneven=GAPS in late_to_read,
        from_cache=from_cache,
    )


def _tokens(timeline: Timeline) -> int | None:
    """Return the tokens of the answer, or of what came of it, as the server counts them."""
    if timeline.output_tokens is not None:
        return timeline.output_tokens
    counts = [each.tokens for each in timeline.chunks]
    known = [each for each in counts if each is not None]
    return sum(known) if known and len(known) == len(counts) else None
