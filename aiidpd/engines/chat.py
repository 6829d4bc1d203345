"""Chat completion protocol: the request, and the streamed pieces of the answer (pure).

Source: the OpenAI API reference, "Create chat completion", with the fields that llama.cpp
(``timings``, ``reasoning_content``) and vLLM (``reasoning``) add.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from aiidpd.engines.target import EngineTimings, ProbeRequest

T = TypeVar("T")

DONE = "[DONE]"
_TEXTS = ("content", "reasoning_content", "reasoning")  # a token that is thought is a token
_MOST_TOKENS = 2**31
_LONGEST_MESSAGE = 200


class MalformedChunkError(ValueError):
    """Data of an event that are no chunk of a chat completion."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Content of one chunk; None and 0 where it has none. ``error`` is the server's own message."""

    characters: int = 0
    finish: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    engine: EngineTimings | None = None
    error: str | None = None

    def then(self, later: Piece) -> Piece:
        """Return the fields of both; where they differ, ``later`` counts."""
        return Piece(
            characters=self.characters + later.characters,
            finish=_later(self.finish, later.finish),
            prompt_tokens=_later(self.prompt_tokens, later.prompt_tokens),
            output_tokens=_later(self.output_tokens, later.output_tokens),
            cached_tokens=_later(self.cached_tokens, later.cached_tokens),
            engine=_later(self.engine, later.engine),
            error=_later(self.error, later.error),
        )


def body(model: str, request: ProbeRequest) -> bytes:
    """Return the JSON document to post."""
    document = {
        "model": model,
        "messages": [{"role": "user", "content": request.prompt}],
        "max_tokens": request.max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(document).encode()


def parse(data: str) -> Piece:
    """Return the fields of ``data``; raises :class:`MalformedChunkError` for what is no JSON object.

    Fields that are absent or of another type than agreed count as absent.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        shown = " ".join(data[:60].split())
        raise MalformedChunkError(f"an event's data is no JSON ({type(error).__name__}): {shown!r}") from None
    if not isinstance(document, dict):
        raise MalformedChunkError(f"an event's data is JSON, but {type(document).__name__} and no object")
    if document.get("error"):
        return Piece(error=error_message(document["error"]))
    usage = _object(document.get("usage"))
    choices = document.get("choices")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
    finish = choice.get("finish_reason")
    return Piece(
        characters=_characters(_object(choice.get("delta"))),
        finish=finish if isinstance(finish, str) else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        engine=_engine(_object(document.get("timings"))),
    )


def error_text(document: str) -> str:
    """Return one bounded line for the body of an error response, be it JSON or not."""
    try:
        return error_message(json.loads(document))
    except (ValueError, RecursionError):
        return error_message(document)


def error_message(error: Any) -> str:
    """Return one bounded line for an error as servers send it: text, or an object with a message."""
    for _ in range(3):  # {"error": {"message": TEXT}} is the deepest in use
        if isinstance(error, dict):
            error = error.get("message") or error.get("detail") or error.get("error") or error
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _characters(delta: dict[str, Any]) -> int:
    texts = (delta.get(field) for field in _TEXTS)
    return sum(len(text) for text in texts if isinstance(text, str))


def _engine(timings: dict[str, Any]) -> EngineTimings | None:
    if not timings:
        return None
    return EngineTimings(
        prompt_tokens=_count(timings.get("prompt_n")),
        prompt_seconds=_seconds(timings.get("prompt_ms")),
        output_tokens=_count(timings.get("predicted_n")),
        output_seconds=_seconds(timings.get("predicted_ms")),
    )


def _later(before: T | None, after: T | None) -> T | None:
    return before if after is None else after


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _MOST_TOKENS else None


def _seconds(milliseconds: Any) -> float | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    try:
        seconds = float(milliseconds) / 1000
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
