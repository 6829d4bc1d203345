"""Texts of compose files: variables in them, and paths below the file (pure)."""

from __future__ import annotations

import posixpath
import re
from typing import Final

_VARIABLE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<sign>:?[-?+])(?P<default>[^{}]*))?\})"
)


def interpolate(text: str) -> tuple[str, bool]:
    """Return ``text`` with the defaults of its variables, and whether any is left, as ``${NAME}``."""
    left = False

    def put(match: re.Match[str]) -> str:
        nonlocal left
        if match["escaped"]:
            return "$"
        if match["sign"] in ("-", ":-"):
            return match["default"]
        left = True
        return f"${{{match['bare'] or match['name']}}}"

    return _VARIABLE.sub(put, text), left


def absolute(source: str, directory: str) -> str:
    """Return the path that ``source`` is for a file in ``directory``; that of a home is nobody's."""
    if source.startswith("~"):
        return f"/home/USER{source[1:]}"
    return source if source.startswith("/") else posixpath.normpath(posixpath.join(directory or "/", source))
