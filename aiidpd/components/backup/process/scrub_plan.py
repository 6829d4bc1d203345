"""Choice of the contents that are read now, and of how much that has to be (pure).

Damaged ones are always read, whatever the budget. Then come those that were never read back, then those whose
proof is the oldest. Of a budget that somebody has set the last content may go beyond it: one that is larger
has its turn too. One that follows from the time that is left grows until it suffices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

DAY: Final = 86_400.0


class Candidate(Protocol):
    """A content that can be read. ``since`` and ``proven_at`` as :class:`Unit` has them."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def since(self) -> float: ...
    @property
    def proven_at(self) -> float | None: ...
    @property
    def suspect(self) -> bool: ...


CandidateT = TypeVar("CandidateT", bound=Candidate)


def in_order(candidates: Iterable[CandidateT]) -> list[CandidateT]:
    """Return ``candidates`` in the order in which they are read: suspect, never proven, the oldest proof."""
    return sorted(candidates, key=_turn)


def within_budget(candidates: Iterable[CandidateT], budget: int, *, beyond: bool = True) -> list[CandidateT]:
    """Return those to read for ``budget`` bytes, in order; the last one may go ``beyond`` it."""
    chosen = []
    left = budget
    for candidate in in_order(candidates):
        if not candidate.suspect:
            if left <= 0 or (not beyond and left < _cost(candidate)):
                break
            left -= _cost(candidate)
        chosen.append(candidate)
    return chosen


def sampled(candidates: Iterable[CandidateT], share: float, seed: int) -> list[CandidateT]:
    """Return at least ``share`` (0 to 1) of all bytes: contents that ``seed`` alone decides on, at random."""
    everything = list(candidates)
    left = share * sum(map(_cost, everything))
    chosen = [candidate for candidate in everything if candidate.suspect]
    others = (candidate for candidate in everything if not candidate.suspect)
    for candidate in sorted(others, key=lambda each: _drawn(each.key, seed)):
        if left <= 0:
            break
        left -= _cost(candidate)
        chosen.append(candidate)
    return in_order(chosen)


def bytes_needed(candidates: Iterable[Candidate], *, within: float, every: float, now: float) -> int:
    """Return the bytes that each run has to read so that every byte is read again ``within`` so many seconds.

    A run is now, and then one every ``every`` seconds. A content that was never read back has to be as long
    after it was stored; one that is overdue, in this run. With ``every`` of a day: the bytes a day.
    """
    needed = read = 0
    for candidate in in_order(candidates):
        if candidate.suspect:
            continue
        read += _cost(candidate)
        begun = candidate.since if candidate.proven_at is None else candidate.proven_at
        runs = 1 + max(0, int((begun + within - now) // every))
        needed = max(needed, -(-read // runs))
    return needed


def oldest(candidates: Sequence[Candidate]) -> tuple[float | None, int]:
    """Return the time of the oldest proof, None where there is none, and the bytes that have none at all."""
    times = [candidate.proven_at for candidate in candidates if candidate.proven_at is not None]
    return min(times, default=None), sum(each.size for each in candidates if each.proven_at is None)


def _turn(candidate: Candidate) -> tuple[bool, bool, float, str]:
    proven_at = candidate.proven_at
    begun = candidate.since if proven_at is None else proven_at
    return not candidate.suspect, proven_at is not None, begun, candidate.key


def _cost(candidate: Candidate) -> int:
    """Return the bytes of a content; an empty one has its turn too."""
    return max(1, candidate.size)


def _drawn(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {key}".encode("utf-8", "surrogatepass")).digest()
