"""Lines of a TOML text on which each key is set (pure).

The standard library's parser records no positions. But a TOML text is a row of statements, each of
which ends with a line and parses by itself; a group of lines that does not parse is the beginning of
a longer statement. So the parser itself decides where each statement begins.
"""

from __future__ import annotations

import tomllib
from typing import Any

Position = tuple[str | int, ...]


def line_numbers(text: str) -> dict[Position, int]:
    """Return the line (from 1) of the statement that first names each table and sets each key.

    Keys in a list of tables carry their index: ``("bench", "endpoints", 0, "url")``. ``text`` must be
    valid TOML; a statement that never ends (it is not valid) yields nothing.
    """
    found: dict[Position, int] = {}
    table: Position = ()
    lengths: dict[Position, int] = {}
    first, statement = 1, ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        statement = f"{statement}\n{line}" if statement else line
        try:
            content = tomllib.loads(statement)
        except ValueError:
            continue
        if statement.lstrip(" \t").startswith("["):
            table = _table(content, lengths)
            _note(found, table, first)
        else:
            _collect(found, table, content, first)
        first, statement = number + 1, ""
    return found


def line_of(numbers: dict[Position, int], key: Position) -> int | None:
    """Return the line of ``key``, or of the nearest thing around it that has one."""
    for length in range(len(key), 0, -1):
        if key[:length] in numbers:
            return numbers[key[:length]]
    return None


def _table(content: dict[str, Any], lengths: dict[Position, int]) -> Position:
    """Return where a header leads: the newest entry of each list of tables on its way."""
    position: Position = ()
    value: Any = content
    while isinstance(value, dict) and value:
        [(name, value)] = value.items()
        position = (*position, name)
        if isinstance(value, list):  # [[name]] begins a new entry
            lengths[position] = lengths.get(position, 0) + 1
            return (*position, lengths[position] - 1)
        if position in lengths:
            position = (*position, lengths[position] - 1)
    return position


def _collect(found: dict[Position, int], position: Position, value: object, line: int) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _note(found, (*position, name), line)
            _collect(found, (*position, name), item, line)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                _collect(found, (*position, index), item, line)


def _note(found: dict[Position, int], position: Position, line: int) -> None:
    for length in range(1, len(position) + 1):
        found.setdefault(position[:length], line)
