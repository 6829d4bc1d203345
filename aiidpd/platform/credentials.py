"""Secrets that systemd hands over as files (LoadCredential=, SetCredential=; systemd.exec(5)).

Each file in ``$CREDENTIALS_DIRECTORY`` is one secret. One line feed at its end is not part of the
secret, so that ``echo`` and an editor may write it.
"""

from __future__ import annotations

import os
from pathlib import Path

from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.readfile import read_small

LIMIT = 64 * 1024  # bytes of one secret


def names(directory: Path, prefix: str) -> tuple[str, ...]:
    """Return the names of the credentials in ``directory`` that begin with ``prefix``, sorted.

    Raises :class:`Misconfigured` where the directory can't be listed.
    """
    try:
        return tuple(sorted(name for name in os.listdir(directory) if name.startswith(prefix)))  # noqa: PTH208
    except OSError as error:
        reason = str(error.strerror).lower()
        remedy = "CREDENTIALS_DIRECTORY must name a folder that the daemon's user may read"
        raise Misconfigured("list credentials in", str(directory), reason=reason, remedy=remedy) from None


def read(directory: Path, name: str) -> str:
    """Return the secret ``name``. Raises :class:`Misconfigured`; no message holds what the file holds."""
    data = read_small(directory / name, LIMIT)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Misconfigured(
            "read", str(directory / name), reason="it is not UTF-8", remedy="write it as text"
        ) from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise Misconfigured(
            "read", str(directory / name), reason="it is empty", remedy="write the secret, or remove it"
        )
    return secret
