"""Requests of acceptance in bytes, and what answers say (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiidpd.components.bench.accept.criteria import Question
from aiidpd.engines import chat
from aiidpd.engines.request import http_request
from aiidpd.engines.target import ProbeRequest

_ANSWER_TOKENS = 64


def stream_request(url: str, model: str, probe: ProbeRequest, api_key: str = "") -> bytes:
    """Return the bytes of the whole request of ``probe`` to the page at ``url``."""
    return http_request(url, api_key, chat.body(model, probe))


def question_body(model: str, question: Question) -> bytes:
    """Return the body that poses ``question`` without a stream, at temperature 0."""
    document = {
        "model": model,
        "temperature": 0,
        "max_tokens": _ANSWER_TOKENS,
        "stream": False,
        "messages": [{"role": "user", "content": question.prompt}],
    }
    return json.dumps(document).encode()


def answer_text(document: Any) -> str:
    """Return the text of the answer to a question; raises ValueError where there is none."""
    choices = document.get("choices") if isinstance(document, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, str):
        raise ValueError("the answer has no text")  # noqa: TRY004 -- it is the server's, and no argument
    return content


def is_right(question: Question, text: str) -> bool:
    """Return whether ``text`` answers ``question``; white space at its ends does not count."""
    found = text.strip()
    return question.answer in found if question.contains else found == question.answer.strip()
