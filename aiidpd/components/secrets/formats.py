"""Files of keys as servers read them (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from aiidpd.components.secrets.registry import Format

MOST_BYTES: Final = 64 * 1024
LONGEST_KEY: Final = 4096
_VLLM_REMARK: Final = "# Written by `aiidpctl secrets`; other options of vLLM belong on its command line."
_SCALAR: Final = re.compile(r'api-key: "([^"\\]+)"')
_ITEM: Final = re.compile(r'  - "([^"\\]+)"')
_LIST: Final = "api-key:"


class NotOurs(ValueError):
    """A file that is not as :func:`render` writes it. The message holds nothing of it."""


def key_problem(key: str) -> str:
    """Return why ``key`` can't be one, empty where every server can read it and every client send it."""
    if not key:
        return "it is empty"
    if len(key) > LONGEST_KEY:
        return f"it is longer than {LONGEST_KEY} characters"
    if not (key.isascii() and key.isprintable()) or set(key) & set(" \"'\\#,"):
        return "it holds a space, a quote, a comma, #, \\, a control character or a letter outside of ASCII"
    if key.startswith("-"):
        return "it begins with -: vLLM would read an option"
    return ""


def render(form: Format, keys: Sequence[str]) -> bytes:
    """Return the file that makes a server accept ``keys``; raises ValueError where it can't."""
    if not keys or len(set(keys)) < len(keys) or any(map(key_problem, keys)):
        raise ValueError("no keys, one twice, or one that can't be a key")
    if form is Format.PLAIN and len(keys) > 1:
        raise ValueError("a plain file holds one key")
    if form is not Format.VLLM:
        return "".join(f"{key}\n" for key in keys).encode()
    # A scalar for one: versions of vLLM that take one key alone read that too.
    lines = [f'{_LIST} "{keys[0]}"'] if len(keys) == 1 else [_LIST, *(f'  - "{key}"' for key in keys)]
    return "".join(f"{line}\n" for line in (_VLLM_REMARK, *lines)).encode()


def parse(form: Format, data: bytes) -> tuple[str, ...]:
    """Return the keys in a file that :func:`render` wrote; raises :class:`NotOurs`."""
    if len(data) > MOST_BYTES:
        raise NotOurs(f"it is larger than {MOST_BYTES} bytes")
    try:
        lines = data.decode("ascii").split("\n")
    except ValueError:
        raise NotOurs("it holds letters outside of ASCII") from None
    if form is Format.VLLM:
        keys = _yaml_keys([line for line in lines if line and not line.startswith("#")])
    else:
        keys = tuple(line for line in lines if line)
    if not keys:
        raise NotOurs("it holds no key")
    if form is Format.PLAIN and len(keys) > 1:
        raise NotOurs("it holds more than one line")
    if len(set(keys)) < len(keys):
        raise NotOurs("a key is there twice")
    for key in keys:
        if problem := key_problem(key):
            raise NotOurs(f"a line is no key: {problem}")
    return keys


def _yaml_keys(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) == 1 and (match := _SCALAR.fullmatch(lines[0])):
        return (match[1],)
    items = [_ITEM.fullmatch(line) for line in lines[1:]]
    if not lines or lines[0] != _LIST or not all(items):
        raise NotOurs("it has other lines than the keys; vLLM's other options belong on its command line")
    return tuple(match[1] for match in items if match)
