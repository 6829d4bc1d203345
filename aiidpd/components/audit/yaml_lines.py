"""Lines of YAML that a person puts under a service of a compose file (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from aiidpd.components.audit.rule import Edit

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./=@-]*(:[A-Za-z0-9_./=@-]+)*", re.ASCII)
_WORDS: Final = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})


def scalar(value: object) -> str:
    """Return ``value`` as a scalar of YAML that every reader takes for the same."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=True)


def block(value: Any, indent: int, step: int = 2) -> list[str]:
    """Return the lines of a mapping or list below a key, each indented by ``indent`` blanks."""
    margin = " " * indent
    if isinstance(value, dict):
        found = []
        for key, each in value.items():
            if isinstance(each, dict | list | tuple):
                found += [f"{margin}{scalar(key)}:", *block(each, indent + step, step)]
            else:
                found.append(f"{margin}{scalar(key)}: {scalar(each)}")
        return found
    return [f"{margin}- {scalar(each)}" for each in value]


def lines_of(edits: Iterable[Edit]) -> Iterator[str]:
    """Yield what is to stand under the service; what is to go is named in a remark."""
    tree: dict[str, Any] = {}
    for edit in edits:
        name = ".".join(edit.path)
        if edit.value is None:
            yield f"# take out {name}: {edit.old}" if edit.item else f"# take out {name}"
            continue
        if edit.item and edit.old:
            yield f"# in the place of {edit.old}:"
        _plant(tree, edit)
    yield from block(tree, 0)


def _plant(tree: dict[str, Any], edit: Edit) -> None:
    for key in edit.path[:-1]:
        tree = tree.setdefault(key, {})
    last = edit.path[-1]
    if edit.item:
        tree.setdefault(last, []).append(edit.value)
    else:
        tree[last] = edit.value
