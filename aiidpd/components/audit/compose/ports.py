"""Published ports as compose files write them (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.contracts.inspections import PublishedPort

_SHORT: Final = re.compile(
    r"(?:(?P<ip>\[[0-9A-Fa-f:.]{1,64}\]|\d{1,3}(?:\.\d{1,3}){3}|\$\{\w+\}|localhost|):)??"
    r"(?:(?P<host>[\d-]*|\$\{\w+\}):)?(?P<port>\d{1,5}(?:-\d{1,5})?|\$\{\w+\})(?:/(?P<protocol>\w+))?",
    re.ASCII,
)
_MOST: Final = 1024  # ports of a range
_LARGEST: Final = 2**16 - 1


def published(given: Any) -> Iterator[PublishedPort]:
    """Yield the ports in the list ``given``; one whose address a variable holds is left out."""
    for each in given or ():
        if isinstance(each, dict):
            yield from _long(each)
        else:
            yield from _short(str(each))


def _short(text: str) -> Iterator[PublishedPort]:
    match = _SHORT.fullmatch(text.strip())
    if match is None:
        raise ComposeError(f"{text[:60]!r} is no published port")
    address = (match["ip"] or "").strip("[]")
    if "${" in address or "${" in match["port"]:
        return
    inside = _range(match["port"])
    given = match["host"] or ""
    outside: list[int | None] = [None] * len(inside)
    if given and "${" not in given:
        numbers = _range(given)
        outside = list(numbers) if len(numbers) == len(inside) else [numbers[0]] * len(inside)
    protocol = (match["protocol"] or "tcp").lower()
    for port, at in zip(inside, outside, strict=True):
        yield PublishedPort(port, protocol, "127.0.0.1" if address == "localhost" else address, at or None)


def _long(given: dict[str, Any]) -> Iterator[PublishedPort]:
    target, at = str(given.get("target")), str(given.get("published") or "")
    address = str(given.get("host_ip") or "")
    if "${" in target or "${" in address or given.get("mode") not in (None, "host", "ingress"):
        return
    numbers = _range(at) if at and "${" not in at else []
    protocol = str(given.get("protocol") or "tcp").lower()
    for port in _range(target):
        yield PublishedPort(port, protocol, address, numbers[0] if numbers else None)


def _range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit() and len(first) <= 5 and len(last) <= 5):  # noqa: PLR2004
        raise ComposeError(f"{text[:60]!r} is no port")
    numbers = range(int(first), int(last or first) + 1)
    if not 0 < len(numbers) <= _MOST or numbers[-1] > _LARGEST:
        raise ComposeError(f"{text[:60]!r} is no range of ports")
    return list(numbers)
