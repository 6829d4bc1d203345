"""Origins of values: the layers of a configuration, and which of them set a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from aiidpd.config.lines import line_numbers, line_of
from aiidpd.config.schema import Key


class Source(StrEnum):
    """Kinds of layers, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class Origin:
    """Place that set a value. ``place`` is ``FILE:LINE``, a variable's or credential's name, or empty."""

    layer: Source
    place: str = ""

    def __str__(self) -> str:
        if self.layer in (Source.DEFAULT, Source.FILE):
            return self.place or self.layer
        return f"{self.layer} {self.place}"


@dataclass(frozen=True)
class Layer:
    """Values that one file, the environment or the credentials set.

    ``text`` is the file's; ``names`` maps each key to the variable or credential that set it.
    """

    source: Source
    data: Mapping[str, Any]
    path: str = ""
    text: str = field(default="", repr=False)
    names: Mapping[Key, str] = field(default_factory=dict)

    @cached_property
    def _lines(self) -> dict[Key, int]:
        return line_numbers(self.text)

    def set_keys(self) -> Iterator[Key]:
        """Yield each key that this layer sets; a list before its entries."""
        # A credential's data repeats the list that it fills in, so its names are what it sets.
        return iter(self.names) if self.source is Source.CREDENTIAL else _leaves((), self.data)

    def origin(self, key: Key) -> Origin:
        """Return where in this layer ``key`` is set, or the nearest thing around it."""
        if self.source is Source.FILE:
            line = line_of(self._lines, key)
            return Origin(self.source, f"{self.path}:{line}" if line else self.path)
        for length in range(len(key), 0, -1):
            if key[:length] in self.names:
                return Origin(self.source, self.names[key[:length]])
        return Origin(self.source)


def winners(layers: Sequence[Layer]) -> dict[Key, Layer]:
    """Return for each key that is set anywhere the last layer that sets it. A list replaces a list."""
    found: dict[Key, Layer] = {}
    for layer in layers:
        for key in layer.set_keys():
            for old in [old for old in found if old[: len(key)] == key]:
                del found[old]
            found[key] = layer
    return found


def origin_of(key: Key, won: Mapping[Key, Layer]) -> Origin:
    """Return what set exactly ``key``."""
    layer = won.get(key)
    return layer.origin(key) if layer else Origin(Source.DEFAULT)


def origin_near(key: Key, won: Mapping[Key, Layer]) -> Origin:
    """Return what set ``key``, or what is around or in it: the place to search for an error."""
    for length in range(len(key), 0, -1):
        if layer := won.get(key[:length]):
            return layer.origin(key)
    for other, layer in won.items():
        if other[: len(key)] == key:
            return layer.origin(key)
    return Origin(Source.DEFAULT)


def _leaves(key: Key, value: object) -> Iterator[Key]:
    if isinstance(value, Mapping) and (value or not key):
        for name, item in value.items():
            yield from _leaves((*key, name), item)
        return
    yield key
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, Mapping) and item:
                yield from _leaves((*key, index), item)
