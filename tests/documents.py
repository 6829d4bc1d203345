"""Documents of the API as a client gets them."""

from __future__ import annotations

import json
from typing import Any

from aiidpd.api.document import Document, to_json


def as_dict(document: Document) -> dict[str, Any]:
    """Return ``document`` as it arrives."""
    found: dict[str, Any] = json.loads(to_json(document))
    return found
