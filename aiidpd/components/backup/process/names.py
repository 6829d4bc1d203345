"""File names that are any bytes (pure): for people, for checksum lists, and never out of their folder.

Inside the daemon a path is a ``str`` relative to the source, as :func:`os.fsdecode` gives it.
"""

from __future__ import annotations

import re
from os import fsencode
from typing import Final

_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))
_LEADS_OUT: Final = re.compile(r"(?:\A|/)\.{0,2}(?:\Z|/)|\0")
_UNESCAPES = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


def shown(path: str) -> str:
    """Return ``path`` as one line of text that any terminal, log and JSON reader takes."""
    text = fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def stays_inside(path: str) -> bool:
    """Return whether ``path`` is relative and can't lead out of the folder that it is joined to."""
    return _LEADS_OUT.search(path) is None


def escape(name: bytes) -> bytes:
    """Escape ``name`` as GNU sha256sum does (coreutils 9)."""
    for plain, escaped in _ESCAPES:
        name = name.replace(plain, escaped)
    return name


def unescape(name: bytes) -> bytes:
    """Undo :func:`escape`; raises :class:`ValueError`."""
    head, *tail = name.split(b"\\")
    result = [head]
    parts = iter(tail)
    for part in parts:
        if part:
            if part[:1] not in _UNESCAPES:
                raise ValueError(f"unknown escape \\{part[:1]!r}")
            result += [_UNESCAPES[part[:1]], part[1:]]
        else:  # two backslashes in a row: what follows them is plain
            plain = next(parts, None)
            if plain is None:
                raise ValueError("a backslash at the end of a name")
            result += [b"\\", plain]
    return b"".join(result)


def files_text(count: int) -> str:
    """Return ``count`` files for people: ``1 file``, ``3 files``."""
    return f"{count} file{'' if count == 1 else 's'}"


def size_text(count: int) -> str:
    """Return ``count`` bytes for people, in binary units."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004 -- the units themselves
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
