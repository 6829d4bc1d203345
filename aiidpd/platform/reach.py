"""Reaching a TCP port, as a result of a check."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from aiidpd.contracts.checks import CheckResult, ok, warning

_PATIENCE = 3.0


def reaches(url: str, what: str) -> Iterator[CheckResult]:
    """Yield whether somebody listens at ``url``; nothing is sent there."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        cure = "start it, or correct its URL; from within a sandbox the machine's own addresses are the same"
        yield warning(f"{what} does not answer at {parts.hostname}:{port}: {reason.lower()}", cure)
    else:
        yield ok(f"{what} listens at {parts.hostname}:{port}")
