"""Addresses below an endpoint (pure)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from aiidpd.kernel.errors import Misconfigured

_LOOPBACK: Final = "127.0.0.1"


def completions_url(url: str, name: str) -> str:
    """Return where completions are posted for an endpoint's base ``url``, given with or without ``/v1``.

    Raises :class:`Misconfigured` for what is no HTTP URL and for one that carries credentials.
    """
    return _below(url, name, "/v1/chat/completions")


def page_url(url: str, name: str, path: str) -> str:
    """Return where the engine's page ``path`` is, beside ``/v1``; raises as :func:`completions_url`."""
    return _below(url, name, path)


def address_of(url: str) -> tuple[str, int] | None:
    """Return host and port of ``url``, each name of the loopback as 127.0.0.1; None for what is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".").lower()
    if not host:
        return None
    return (_LOOPBACK if is_loopback(host) else host), port


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine, as far as its name says so."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _below(url: str, name: str, path: str) -> str:
    remedy = "give it as http://HOST:PORT, and an API key as a credential"
    shown = f"benchmark endpoint {name}"
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no port
    except ValueError as error:
        raise Misconfigured("use", shown, reason=f"its url is malformed: {error}", remedy=remedy) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured("use", shown, reason="its url is no http or https URL", remedy=remedy)
    if "@" in parts.netloc or parts.query or parts.fragment:
        reason = "its url holds credentials, a query or a fragment, and urls are logged"
        raise Misconfigured("use", shown, reason=reason, remedy=remedy)
    above = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, f"{above}{path}", "", ""))
