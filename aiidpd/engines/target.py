"""Protocol of a target that is probed, and the raw record of one probe (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """A request for one completion.

    Both timeouts count from the start, in seconds: ``first_token_timeout`` bounds the time to the
    first text, ``timeout`` the whole.
    """

    prompt: str
    max_tokens: int
    first_token_timeout: float
    timeout: float
    seed: int | None = None
    """Seed that is sent, for answers that are to be compared."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of the answer: when it arrived at this machine (monotonic seconds), how long its text is.

    A chunk is not a token: engines put several tokens into one, and hold text back.
    """

    at: float
    characters: int
    tokens: int | None = None
    """Tokens in it, those without text before it included; None where the engine does not say."""
    text_bytes: int = 0
    """Bytes of its text in UTF-8; 0 where they were not counted."""
    late: float = 0.0
    """Seconds by which it may have arrived earlier, for this process was late to read it."""
    text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class EngineTimings:
    """Engine's own times for the same request (llama.cpp's ``timings``); None where it gave none."""

    prompt_tokens: int | None = None
    prompt_seconds: float | None = None
    output_tokens: int | None = None
    output_seconds: float | None = None
    draft_tokens: int | None = None
    """Tokens that speculative decoding proposed."""
    accepted_tokens: int | None = None
    """Those of them that were accepted."""

    @property
    def time_per_output_token(self) -> float | None:
        """Seconds a generated token took, by the engine's own clock."""
        if not self.output_tokens or self.output_seconds is None:
            return None
        return self.output_seconds / self.output_tokens

    @property
    def time_between_tokens(self) -> float | None:
        """Seconds from one generated token to the next: its time runs from the first token to the last."""
        if self.output_tokens is None or self.output_tokens < 2 or self.output_seconds is None:  # noqa: PLR2004
            return None
        return self.output_seconds / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Arrivals, in monotonic seconds, and the server's own counts, None where it gave none.

    ``chunks`` are those with text, in order of arrival: the chunk that only names the role is not
    among them. ``started`` is the moment at which the request's last part was written, to a connection that
    it took ``connect_seconds`` to open.
    """

    started: float
    ended: float
    chunks: tuple[Chunk, ...]
    finish: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    engine: EngineTimings | None = None
    connect_seconds: float | None = None
    delays: tuple[float, ...] = ()
    """Seconds by which this process was late at regular moments meanwhile, ascending; empty for not known."""

    @property
    def text(self) -> str:
        """Whole answer: what was thought, said and called, in the order of arrival."""
        return "".join(chunk.text for chunk in self.chunks)


class Target(Protocol):
    """One endpoint that answers chat completions."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def url(self) -> str:
        """Its address, without credentials."""

    @property
    def model(self) -> str:
        """Model that is requested."""

    @property
    def simulated(self) -> bool:
        """True where its answers are made up."""

    async def probe(self, request: ProbeRequest) -> Timeline:
        """Send one request and record the answer; raises :class:`Unavailable` where there is no whole answer.

        The timeline of a probe that returns has at least one chunk.
        """

    async def aclose(self) -> None:
        """Close the connections. Can be called twice; a probe afterwards opens them again."""
