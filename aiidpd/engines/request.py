"""Bytes of an HTTP/1.1 request that is the only one on its connection (pure)."""

from __future__ import annotations

from urllib.parse import urlsplit


def http_request(url: str, api_key: str = "", body: bytes | None = None) -> bytes:
    """Return the whole request for the page at ``url``: a POST of ``body``, or a GET where it has none."""
    parts = urlsplit(url)
    lines = [
        f"{'GET' if body is None else 'POST'} {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: close",
        f"Accept: {'application/json' if body is None else 'text/event-stream'}",
        "Accept-Encoding: identity",
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if api_key:
        lines.append(f"Authorization: Bearer {api_key}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
