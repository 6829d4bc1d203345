"""Configuration of apt as text (pure): names in scopes, each with its values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_TOKEN: Final = re.compile(
    r'\s+|//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)|"(?P<text>[^"\n]*)"|(?P<sign>[{};])|(?P<word>[^\s{};"]+)',
    re.DOTALL,
)
_DEEPEST: Final = 16
_MOST: Final = 10_000  # tokens

_YES: Final = frozenset({"1", "true", "yes", "on", "with", "enable", "always"})


def parse(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return the values of each name, in lower case, of ``texts`` in their order; never raises."""
    found: dict[str, list[str]] = {}
    for text in texts:
        _parse(text, found)
    return found


def _parse(text: str, found: dict[str, list[str]]) -> None:
    scopes: list[str] = []
    name = ""
    for count, match in enumerate(_TOKEN.finditer(text)):
        if count > _MOST:
            return
        sign, word, value = match["sign"], match["word"], match["text"]
        if word is not None:
            name = word
        elif value is not None:
            key = "::".join((*scopes, name) if name else scopes).lower().removesuffix("::")
            found.setdefault(key, []).append(value)
        elif sign == "{":
            if len(scopes) < _DEEPEST:
                scopes.append(name.removesuffix("::"))
            name = ""
        elif sign == "}":
            if scopes:
                scopes.pop()
            name = ""
        elif sign == ";":
            name = ""


def is_on(values: Mapping[str, list[str]], name: str) -> bool:
    """Return whether the last value of ``name`` switches it on: a word, or a number of days."""
    last = (values.get(name.lower()) or [""])[-1].strip().lower()
    return last in _YES or (last.isascii() and last.isdigit() and int(last[:9]) > 0)
