"""Entries of lists of a compose file that say the same in other words (pure)."""

from __future__ import annotations

from typing import Any

from aiidpd.components.audit.compose.ports import published
from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.components.audit.compose.services_text import absolute, interpolate
from aiidpd.contracts.inspections import PublishedPort


def matches(key: str, entry: Any, wanted: str, directory: str) -> bool:
    """Return whether ``entry`` of the list ``key`` is the one that a finding calls ``wanted``."""
    text = interpolate(entry)[0] if isinstance(entry, str) else entry
    if key in ("cap_add", "cap_drop"):
        return str(text).strip().upper().removeprefix("CAP_") == wanted.upper().removeprefix("CAP_")
    if key == "ports":
        return bool(_ports(text) & _ports(wanted))
    if key in ("volumes", "devices"):
        source = str(text.get("source")) if isinstance(text, dict) else str(text).partition(":")[0]
        return wanted in (source, absolute(source, directory))
    if key == "tmpfs":
        return str(text) == wanted or str(text).partition(":")[0] == wanted.partition(":")[0]
    return not isinstance(text, dict | list) and str(text) == wanted


def _ports(given: Any) -> set[PublishedPort]:
    try:
        return set(published([given]))
    except ComposeError:
        return set()
