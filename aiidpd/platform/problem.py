"""Errors as HTTP reports them: problem documents (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiidpd.kernel.errors import (
    AiidpdError,
    Conflict,
    Denied,
    Invalid,
    Misconfigured,
    NotFound,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"

_STATUS: tuple[tuple[type[AiidpdError], HTTPStatus], ...] = (
    (Invalid, HTTPStatus.BAD_REQUEST),
    (Denied, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Misconfigured, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)


def status_of(error: AiidpdError) -> HTTPStatus:
    """Return the HTTP status for ``error``."""
    return next(
        (status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR
    )


def document(status: int, detail: str, **members: str) -> dict[str, str | int]:
    """Return the problem document for ``status``; ``detail`` is a sentence for people."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        **members,
    }


def of(error: AiidpdError) -> dict[str, str | int]:
    """Return the problem document of ``error``, its four parts among the members."""
    return document(
        status_of(error),
        str(error),
        action=error.action,
        subject=error.subject,
        reason=error.reason,
        remedy=error.remedy,
    )


def encode(problem: Mapping[str, str | int]) -> bytes:
    """Return ``problem`` as a response's body."""
    return json.dumps(problem).encode()


def raw_response(status: HTTPStatus, detail: str) -> bytes:
    """Return a whole HTTP response that ends its connection, for where no request was understood."""
    body = encode(document(status, detail))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
