"""Forms in which a secret may be in a text: as it is, and as URLs, JSON, HTTP and dumps write it (pure)."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST: Final = 4
"""Characters; shorter values are words of every text."""

_NESTED: Final = 4  # JSON within JSON within a line of a log
_LEAST: Final = 8  # characters of a part of base64 or hex that is telling
_CODES: Final = ((base64.b64encode, 6), (base64.urlsafe_b64encode, 6), (base64.b32encode, 5))


def forms(secret: str) -> frozenset[str]:
    """Return the forms of ``secret``, of at least four characters each; none for a shorter one.

    Those of base64 and base32 are found within a longer text too, wherever the secret begins there: the
    characters at its ends, which depend on what is around it, are not among them.
    """
    if len(secret) < SHORTEST:
        return frozenset()
    found = {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        html.escape(secret),
        secret.encode("unicode_escape").decode(),
        repr(secret)[1:-1],
    }
    for written in tuple(found):
        escaped = written
        for _ in range(_NESTED):
            escaped = json.dumps(escaped)[1:-1]
            found.add(escaped)
    raw = secret.encode("utf-8", "surrogatepass")
    for text in (raw.hex(), raw.hex(" "), raw.hex(":")):
        found |= {text, text.upper()}
    found.update(_aligned(raw))
    return frozenset(each for each in found if len(each) >= SHORTEST)


def _aligned(raw: bytes) -> Iterator[str]:
    for encode, bits in _CODES:
        for offset in range(math.lcm(bits, 8) // 8):
            text = encode(bytes(offset) + raw).decode()
            begin, end = math.ceil(offset * 8 / bits), (offset + len(raw)) * 8 // bits
            if end - begin >= _LEAST:
                yield text[begin:end]
