"""Small JSON files that carry the SHA-256 of themselves, so that any flipped bit in them shows (pure)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

_SEAL: Final = "sha256"


def seal(document: Mapping[str, object]) -> bytes:
    """Return ``document`` as the content of a file."""
    digest = hashlib.sha256(_compose(document)).hexdigest()
    return _compose({**document, _SEAL: digest}) + b"\n"


def unseal(data: bytes) -> dict[str, object]:
    """Return the document that :func:`seal` made a file of; raises :class:`ValueError` for any other byte."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 -- data, not a caller's mistake
    document.pop(_SEAL, None)
    try:
        right = seal(document) == data
    except (ValueError, RecursionError):  # NaN is read, and not written
        right = False
    if not right:
        raise ValueError("it does not match its own checksum")
    return document


def _compose(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode("ascii")
