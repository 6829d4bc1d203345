"""Timing of a streamed answer: bytes with their arrival times in, chunks with theirs out (pure).

However the bytes are cut, the chunks are the same, and each has the time of the bytes that completed it. What
is no answer raises :class:`AnswerFaultError` and nothing else. The bytes are those of the body of a response,
read by a client of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiidpd.engines import chat
from aiidpd.engines.faults import AnswerFaultError, Fault
from aiidpd.engines.sse import EventParser, MalformedStreamError
from aiidpd.engines.target import Chunk, Timeline

MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_PROMPT_TOKENS: Final = 100_000_000  # more than any model reads
_SPARE_CHUNKS: Final = 64
_PER_TOKEN: Final = 2  # a server may split a token that is no whole character


def most_chunks(max_tokens: int) -> int:
    """Return how many chunks, or counted tokens, an answer of ``max_tokens`` may have before it is none."""
    return _PER_TOKEN * max_tokens + _SPARE_CHUNKS


@dataclass(frozen=True, slots=True)
class Sent:
    """Times of the request, in monotonic seconds: ``at`` is when its last part was written."""

    at: float
    connect_seconds: float | None = None


class AnswerReader:
    """Reads one answer to a request for ``max_tokens``."""

    def __init__(self, max_tokens: int) -> None:
        self._most = most_chunks(max_tokens)
        self._max_tokens = max_tokens
        self._parser = EventParser()
        self._received = 0
        self._counted: int | None = 0  # tokens up to the last chunk with text, where the engine counts them
        self._last = -math.inf
        self.chunks: list[Chunk] = []
        self.fields = chat.Piece()
        self.done = False
        """The server said that nothing follows."""

    def feed(self, data: bytes, at: float, waited: float = 0.0, *, stamped: bool = True) -> list[Chunk]:
        """Return the chunks that ``data``, which arrived ``at``, completes.

        ``waited`` is for how many seconds its bytes may have waited to be read. Where they were ``stamped``
        on their arrival, that holds of those before the last alone.
        """
        if not math.isfinite(at) or at < self._last:
            raise AnswerFaultError(Fault.CLOCK, "the clock went back during the answer")
        self._last = at
        known = len(self.chunks)
        too_long = self._received + len(data) > MOST_BYTES
        data = data[: MOST_BYTES - self._received]
        self._received += len(data)
        try:
            for event in self._parser.feed(data):
                if self.done:
                    continue
                if event.data.strip() == chat.DONE:
                    self.done = True
                    continue
                self._take(chat.parse(event.data), at)
        except (MalformedStreamError, chat.MalformedChunkError) as error:
            if not self.done:
                raise AnswerFaultError(Fault.MALFORMED, str(error)) from None
        if too_long and not self.done:
            raise AnswerFaultError(Fault.TOO_LONG, f"the answer is longer than {MOST_BYTES // 1024**2} MiB")
        if waited > 0:
            self._mark(at, waited, stamped=stamped)
        return self.chunks[known:]

    def end(self) -> None:
        """Take note that the stream ended; raises where it is no whole answer."""
        rest = self._parser.unfinished
        if self.done or rest.removeprefix(b"data:").strip() == chat.DONE.encode():
            return
        if rest:
            raise AnswerFaultError(Fault.CUT, "the stream ended in the midst of an event")
        if self.fields.finish is None:
            raise AnswerFaultError(Fault.CUT, "the stream ended")

    def timeline(self, sent: Sent, delays: Sequence[float] = ()) -> Timeline:
        """Return the record of the answer to the request that was ``sent``; raises where it has no text.

        ``delays`` are those of the client, in seconds, ascending.
        """
        if not self.chunks:
            raise AnswerFaultError(Fault.EMPTY, "the server ended its answer without any text")
        if self.chunks[0].at < sent.at:
            raise AnswerFaultError(Fault.CLOCK, "the clock went back between request and answer")
        fields = self.fields
        return Timeline(
            started=sent.at,
            ended=self._last,
            chunks=tuple(self.chunks),
            finish=fields.finish,
            prompt_tokens=fields.prompt_tokens,
            output_tokens=fields.output_tokens,
            cached_tokens=fields.cached_tokens,
            engine=fields.engine,
            connect_seconds=sent.connect_seconds,
            delays=tuple(delays),
        )

    def _mark(self, at: float, waited: float, *, stamped: bool) -> None:
        """Mark the chunks that were read at once as that much later than they were sent.

        A reading may be fed in parts; the stamp is that of its last chunk, or of what follows within it.
        """
        place = len(self.chunks) - 1 - stamped
        while place >= 0 and self.chunks[place].at == at:
            self.chunks[place] = replace(self.chunks[place], late=waited)
            place -= 1

    def _take(self, piece: chat.Piece, at: float) -> None:
        """Add ``piece`` to what is known."""
        if piece.error is not None:
            raise AnswerFaultError(Fault.ENGINE_ERROR, piece.error)
        if piece.output_tokens is not None and piece.output_tokens > self._most:
            reason = f"the server counts {piece.output_tokens} tokens where {self._max_tokens} were requested"
            raise AnswerFaultError(Fault.IMPLAUSIBLE, reason)
        if piece.prompt_tokens is not None and piece.prompt_tokens > _MOST_PROMPT_TOKENS:
            reason = f"the server counts {piece.prompt_tokens} tokens of the prompt"
            raise AnswerFaultError(Fault.IMPLAUSIBLE, reason)
        self.fields = self.fields.then(piece)
        self.done = piece.last
        if not piece.characters:
            return
        if len(self.chunks) >= self._most:
            raise AnswerFaultError(
                Fault.TOO_LONG,
                f"more than {self._most} chunks arrived where {self._max_tokens} tokens were requested",
            )
        chunk = Chunk(at, piece.characters, self._tokens(piece), piece.text_bytes, text=piece.text)
        self.chunks.append(chunk)

    def _tokens(self, piece: chat.Piece) -> int | None:
        """Return the tokens of a chunk with text as the engine counts them, None where it does not."""
        before, after = self._counted, piece.counted
        if after is None and piece.tokens is not None and before is not None:
            after = before + piece.tokens
        self._counted = after
        if before is None or after is None:
            return piece.tokens
        return after - before if after >= before else None
