"""Answers of a server to keys, by a page that wakes nothing and needs one.

A wrong key goes first: the real ones are sent to nobody but a server that refuses that, so that a program
which has taken the port meanwhile is not simply handed them.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from aiidpd.components.secrets.decide import Answer

PAGES: Final = ("/v1/models", "/props")
"""Of vLLM and llama.cpp; some versions of llama.cpp show the first one to everybody."""

_TIMEOUT: Final = 5.0  # seconds
_REFUSED: Final = (401, 403)
_GOOD: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answer to a wrong key and to each of the keys, in their order; ``reason`` is why some are unknown."""

    wrong: Answer
    keys: tuple[Answer, ...]
    reason: str = ""
    page: str = ""
    """Page that was requested, empty where none needs a key."""


def query(url: str, keys: Sequence[str], *, timeout: float = _TIMEOUT) -> Answers:
    """Return what the server at ``url`` answers to a wrong key, and to ``keys``. Blocks."""
    unknown = tuple(Answer.UNKNOWN for _ in keys)
    wrong, reason = secrets.token_hex(32), ""
    seen: list[Answer] = []
    for page in PAGES:
        answer, said = _query(url, page, wrong, timeout)
        seen.append(answer)
        reason = reason or said
        if answer is Answer.REFUSED:
            found = [_query(url, page, key, timeout) for key in keys]
            why = next((said for _, said in found if said), "")
            return Answers(answer, tuple(answer for answer, _ in found), why, page)
    if Answer.ACCEPTED in seen:
        return Answers(Answer.ACCEPTED, unknown, "it answers to any key")
    return Answers(Answer.UNKNOWN, unknown, reason)


def _query(url: str, page: str, key: str, timeout: float) -> tuple[Answer, str]:
    """Return the answer to one key, and why it is unknown. The reason holds nothing that the server said."""
    try:
        status = _status(url, page, key, timeout)
    except (OSError, HTTPException, ValueError) as error:
        return Answer.UNKNOWN, _reason(error, timeout)
    if status in _REFUSED:
        return Answer.REFUSED, ""
    if status in _GOOD:
        return Answer.ACCEPTED, ""
    return Answer.UNKNOWN, f"it answers {page} with status {status}"


def _status(url: str, page: str, key: str, timeout: float) -> int:
    """Return the status of one answer. Redirections are not followed, and no proxy is used."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    base = parts.path.rstrip("/").removesuffix("/v1")
    try:
        connection.request(
            "GET", base + page, headers={"Authorization": f"Bearer {key}", "Connection": "close"}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {(error.reason or 'failed').lower()}"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {timeout:g} s"
    if isinstance(error, OSError):
        return (error.strerror or "it can't be reached").lower()
    return "what answers is no HTTP server"
