"""Values as TOML writes them, for documentation, messages and ``config show`` (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BASIC_PLANE = 0xFFFF
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def render(value: object) -> str:
    """Return ``value`` as one line of TOML. What TOML does not know (dates apart) becomes a string."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case Mapping():
            pairs = ", ".join(f"{render_key(str(key))} = {render(item)}" for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case str() | Path():
            return _string(str(value))
        case Sequence():
            return f"[{', '.join(render(item) for item in value)}]"
        case _:
            return _string(str(value))


def render_key(key: str) -> str:
    """Return ``key`` as TOML writes it: bare where that is allowed, else in quotes."""
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # Whatever does not print is escaped, so that no value moves a terminal's cursor.
    return f'"{"".join(_ESCAPES.get(char) or _character(char) for char in text)}"'


def printable(text: str) -> str:
    """Return ``text`` with whatever does not print escaped."""
    return "".join(map(_character, text))


def _character(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\u{code:04X}" if code <= _BASIC_PLANE else f"\\U{code:08X}"
