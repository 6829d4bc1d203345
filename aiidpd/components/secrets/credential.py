"""Lines that hand a key to our own daemon as a credential of systemd (pure)."""

from __future__ import annotations

import re
from typing import Final

DROP_INS: Final = "/etc/systemd/system/aiidpd.service.d"
_PLACES: Final = {
    "endpoint": "aiidpd.bench.endpoints.{}.api_key",
    "server": "aiidpd.engines.servers.{}.api_key",
}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


def credential(kind: str, name: str) -> str:
    """Return the credential of the endpoint or server ``name``; raises ValueError where that is no name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no name of the configuration")
    return _PLACES[kind].format(name)


def drop_in(credential: str, path: str) -> str:
    """Return the drop-in of the unit that gives it the key in the file ``path``; raises ValueError."""
    if not path.isprintable() or set(path) & set(" \t\"'\\%:"):
        raise ValueError(f"systemd can't be given the path {path[:60]!r}")
    return f"[Service]\nLoadCredential={credential}:{path}\n"
