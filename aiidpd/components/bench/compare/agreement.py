"""Agreement of the answers of two sides to the same prompts (pure).

Both answer twice: a side whose own two answers differ, though temperature and seed are fixed, can't be
told from another by its answers, and that prompt is not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiidpd.engines.target import Timeline


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``ends`` has the characters and tokens up to the end of each chunk, if these are known."""

    text: str
    ends: tuple[tuple[int, int], ...] = ()

    def token_at(self, character: int) -> int | None:
        """Return the number, from 0 on, of the token that holds ``character``, None where it is not known.

        Where a chunk held several tokens it is its first one.
        """
        tokens = 0
        for end, after in self.ends:
            if character < end:
                return tokens
            tokens = after
        return tokens if self.ends else None


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of both sides to one prompt, in the order of their tries; ``reason`` is why there are none."""

    prompt: str
    a: tuple[Answer, ...] = ()
    b: tuple[Answer, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """Comparison of the answers to one prompt."""

    prompt: str
    same: bool | None
    """Null where it can't be judged, as ``reason`` says."""
    reason: str = ""
    character: int | None = None
    """First character, from 0 on, in which they differ."""
    token: int | None = None
    """First token, from 0 on, in which they differ, as A's engine counts; null where that is not known."""
    a: str = ""
    """Text of A from shortly before there on, or the whole where they are the same; cut."""
    b: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Comparison of all answers. ``share`` is that of the same among those judged, null where none was."""

    judged: int = 0
    same: int = 0
    share: float | None = None
    prompts: tuple[Judged, ...] = ()
    text: str = "the answers were not compared"


def answer_of(timeline: Timeline) -> Answer:
    """Return the answer that ``timeline`` records."""
    ends: list[tuple[int, int]] = []
    characters = tokens = 0
    for chunk in timeline.chunks:
        if chunk.tokens is None:
            ends = []
            break
        characters, tokens = characters + chunk.characters, tokens + chunk.tokens
        ends.append((characters, tokens))
    return Answer(timeline.text, tuple(ends))


def judge(answers: Sequence[Answers]) -> Agreement:
    """Return how far the answers agree."""
    prompts = tuple(map(_judged, answers))
    known = [each for each in prompts if each.same is not None]
    same = sum(each.same is True for each in known)
    share = same / len(known) if known else None
    return Agreement(len(known), same, share, prompts, _text(prompts, known, same))


_SHOWN = 60  # characters of an answer beside a difference
_BEFORE = 20


def _judged(both: Answers) -> Judged:
    reason = both.reason
    for side, answers in (("A", both.a), ("B", both.b)):
        if not reason and not answers:
            reason = f"{side} gave no answer"
        elif not reason and any(each.text != answers[0].text for each in answers[1:]):
            reason = f"{side}'s own answers differ from one time to the next, with temperature 0 and a seed"
    if reason:
        return Judged(both.prompt, None, reason)
    a, b = both.a[0], both.b[0]
    if not a.text and not b.text:
        return Judged(both.prompt, None, "neither answer has text")
    place = _first_difference(a.text, b.text)
    if place is None:
        return Judged(both.prompt, same=True, a=_shown(a.text), b=_shown(b.text))
    begin = max(0, place - _BEFORE)
    return Judged(
        both.prompt,
        same=False,
        character=place,
        token=a.token_at(place),
        a=_shown(a.text[begin:]),
        b=_shown(b.text[begin:]),
    )


def _shown(text: str) -> str:
    """Return the beginning of ``text`` as UTF-8 can hold it: half a character may come from a server."""
    return text[:_SHOWN].encode("utf-8", "backslashreplace").decode()


def _first_difference(a: str, b: str) -> int | None:
    if a == b:
        return None
    for place, (ours, theirs) in enumerate(zip(a, b, strict=False)):
        if ours != theirs:
            return place
    return min(len(a), len(b))


def _text(prompts: Sequence[Judged], known: Sequence[Judged], same: int) -> str:
    parts = []
    if known:
        parts.append(f"{same} of {len(known)} answers are the same to the last character")
    places = [each.character for each in known if each.character is not None]
    if places:
        parts.append(f"the earliest difference is at character {min(places)}")
    reasons = dict.fromkeys(each.reason for each in prompts if each.same is None)
    parts += [f"not judged: {reason}" for reason in reasons]
    return "; ".join(parts) or "the answers were not compared"
