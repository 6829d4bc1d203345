"""Ways in which a key may be in a text."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus


def ways(key: str) -> Iterator[str]:
    """Yield ``key`` as URLs, JSON, HTML, HTTP, dumps and base64 write it."""
    raw = key.encode()
    yield from (key, quote(key, safe=""), quote(key), quote_plus(key), html.escape(key))
    yield json.dumps(key)[1:-1]
    yield json.dumps(json.dumps(key))[3:-3]
    yield key.encode("unicode_escape").decode()
    yield from (raw.hex(), raw.hex().upper(), raw.hex(":"), raw.hex(" "))
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
        yield encode(raw).decode().rstrip("=")
