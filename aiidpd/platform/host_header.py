"""Names under which a request reaches a loopback listener, checked against DNS rebinding (pure).

A page in a browser may have its own name lead to 127.0.0.1 and then read what listens there. The browser
sends that name as ``Host``, so that a listener which knows its names can refuse.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address
from typing import Final

_LOCAL: Final = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})
_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[^\[\]:@/?#\\\s]{1,253})(?::\d{0,5})?", re.ASCII
)


def host_of(authority: str) -> str:
    """Return the host of ``authority`` (``name:port``), in lower case, without brackets; empty for none."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return ""
    return match["host"].strip("[]").removesuffix(".").lower()


def is_ours(hosts: Sequence[str], names: Collection[str] = ()) -> bool:
    """Return whether a request with these ``Host`` headers is for us: by a loopback address or a name.

    ``names`` are further names, in lower case. A request without the header, which HTTP/1.0 allows, comes
    from no browser.
    """
    if not hosts:
        return True
    if len(hosts) > 1:
        return False
    host = host_of(hosts[0])
    if host in _LOCAL or host in names:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
