"""Protocol of a target that is probed, and the raw record of one probe (pure)."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of the answer: when it reached this process (monotonic seconds), how long its text is.

    A chunk is not a token: engines put several tokens into one, and hold text back.
    """

    at: float
    characters: int


@dataclass(frozen=True, slots=True)
class EngineTimings:
    """Engine's own times for the same request (llama.cpp's ``timings``); None where it gave none."""

    prompt_tokens: int | None = None
    prompt_seconds: float | None = None
    output_tokens: int | None = None
    output_seconds: float | None = None

    @property
    def time_per_output_token(self) -> float | None:
        """Seconds a generated token took, by the engine's own clock."""
        if not self.output_tokens or self.output_seconds is None:
            return None
        return self.output_seconds / self.output_tokens


@dataclass(frozen=True, slots=True)
class Timeline:
    """Arrivals, in monotonic seconds, and the server's own counts, None where it gave none.

    ``chunks`` are those with text, in order of arrival: the chunk that only names the role is not
    among them. ``started`` is the moment before the connection is opened.
    """

    started: float
    ended: float
    chunks: tuple[Chunk, ...]
    finish: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    engine: EngineTimings | None = None


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
