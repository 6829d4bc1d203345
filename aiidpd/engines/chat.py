"""Completion protocols: the request, and the streamed pieces of the answer (pure).

Sources: the OpenAI API reference, "Create chat completion" and "Create completion", with the fields that
llama.cpp (``timings``, ``reasoning_content``) and vLLM (``reasoning``, ``token_ids``) add; "POST /completion"
in ``tools/server/README.md`` of ggml-org/llama.cpp.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from aiidpd.engines.target import EngineTimings, ProbeRequest

T = TypeVar("T")

DONE = "[DONE]"
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")  # a token that is thought is a token
_MOST_TOKENS = 2**31
_LONGEST_MESSAGE = 200


class Form(StrEnum):
    """Protocol of a request, which is its path."""

    CHAT = "/v1/chat/completions"
    COMPLETION = "/v1/completions"
    LLAMA_CPP = "/completion"


class MalformedChunkError(ValueError):
    """Data of an event that are no chunk of a completion."""


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
    text_bytes: int = 0
    tokens: int | None = None
    """Tokens of this chunk, where it lists them."""
    counted: int | None = None
    """Tokens of the answer up to this chunk, where it counts them."""
    last: bool = False
    """Nothing follows it."""
    text: str = field(default="", compare=False, repr=False)

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
            text_bytes=self.text_bytes + later.text_bytes,
            counted=_later(self.counted, later.counted),
            last=later.last,
        )


def body(
    model: str,
    request: ProbeRequest,
    form: Form = Form.CHAT,
    *,
    counting: bool = False,
    said: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Return the JSON document to post.

    ``said`` are role and content of the messages before that of a chat. With ``counting``, each chunk is to
    say how many tokens there were so far, in the words of vLLM and of llama.cpp; others ignore the fields or
    refuse the request.
    """
    document: dict[str, Any] = {"temperature": 0, "stream": True}
    if form is Form.LLAMA_CPP:
        document |= {"prompt": request.prompt, "n_predict": request.max_tokens}
    else:
        options = {"include_usage": True}
        if counting:
            options["continuous_usage_stats"] = True
        document |= {"model": model, "max_tokens": request.max_tokens, "stream_options": options}
    if form is Form.CHAT:
        messages = [*said, ("user", request.prompt)]
        document["messages"] = [{"role": role, "content": content} for role, content in messages]
    elif form is Form.COMPLETION:
        document["prompt"] = request.prompt
    if request.seed is not None:
        document["seed"] = request.seed
    if counting:
        document["timings_per_token"] = True
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
    timings = _object(document.get("timings"))
    if "choices" not in document and isinstance(document.get("content"), str):
        return _llama_cpp(document, timings)
    usage = _object(document.get("usage"))
    details = _object(usage.get("prompt_tokens_details"))
    choices = document.get("choices")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
    finish = choice.get("finish_reason")
    text = _text(choice)
    output = _count(usage.get("completion_tokens"))
    return Piece(
        characters=len(text),
        finish=finish if isinstance(finish, str) else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=output,
        cached_tokens=_later(_count(timings.get("cache_n")), _count(details.get("cached_tokens"))),
        engine=_engine(timings),
        text_bytes=_size(text),
        text=text,
        tokens=_listed(choice),
        counted=_later(_count(timings.get("predicted_n")), output),
    )


def _llama_cpp(document: dict[str, Any], timings: dict[str, Any]) -> Piece:
    """Return the fields of a chunk of llama.cpp's own ``/completion``."""
    text: str = document["content"]
    last = document.get("stop") is True
    tokens = document.get("tokens")
    counted = _count(document.get("tokens_predicted"))
    return Piece(
        characters=len(text),
        finish=("length" if document.get("stop_type") == "limit" else "stop") if last else None,
        prompt_tokens=_count(document.get("tokens_evaluated")),
        output_tokens=counted,
        cached_tokens=_count(timings.get("cache_n")),
        engine=_engine(timings),
        text_bytes=_size(text),
        text=text,
        tokens=len(tokens) if isinstance(tokens, list) and tokens else None,
        counted=counted,
        last=last,
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


def _text(choice: dict[str, Any]) -> str:
    """Return what was generated: answer, thought or the call of a tool."""
    delta = _object(choice.get("delta"))
    texts = [delta.get(field) for field in _TEXTS]
    texts.append(choice.get("text"))
    calls = delta.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = _object(_object(call).get("function"))
        texts += [function.get("name"), function.get("arguments")]
    return "".join(text for text in texts if isinstance(text, str))


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _listed(choice: dict[str, Any]) -> int | None:
    """Return how many tokens the chunk lists, None where it lists none."""
    logprobs = _object(choice.get("logprobs"))
    for listed in (choice.get("token_ids"), logprobs.get("content"), logprobs.get("tokens")):
        if isinstance(listed, list) and listed:
            return len(listed)
    return None


def _engine(timings: dict[str, Any]) -> EngineTimings | None:
    if not timings:
        return None
    return EngineTimings(
        prompt_tokens=_count(timings.get("prompt_n")),
        prompt_seconds=_seconds(timings.get("prompt_ms")),
        output_tokens=_count(timings.get("predicted_n")),
        output_seconds=_seconds(timings.get("predicted_ms")),
        draft_tokens=_count(timings.get("draft_n")),
        accepted_tokens=_count(timings.get("draft_n_accepted")),
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
