"""JSON documents whose shape a frozen dataclass declares: strict, whole or not at all (pure).

Fields are of str, int (64 bits), float (finite), bool and None, of Literal and of enumerations (a StrEnum is
written by its values, any other by its names), of tuple, frozenset and Mapping with text for keys, of
dataclasses of such fields, and of unions of these. The metadata of a field may hold two things:

- ``key``: the key in the document, where that is not the field's name;
- ``advisory``: the key may be missing, and a value that is not of the declared type counts as None, since
  the rest has its full worth without it. None is left out of the document.

Every other field has its key in each document, and a key that no field has is refused. So is what a dataclass
refuses itself: where it has a method ``validate``, it is called on each one that was read, and may raise
ValueError. (Not in ``__post_init__``: what makes no sense is not to be stored, and no reason to fall over.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum, StrEnum
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Decode: TypeAlias = Callable[[object], Any]
_LONGEST: Final = 60  # characters of a value in a message
_LARGEST: Final = 1 << 63  # a whole number of more bits can't be formatted as a float or stored in SQLite


class Mismatch(ValueError):
    """A value is not what was declared; ``place`` is where in the document, from the outside in."""

    def __init__(self, reason: str, place: tuple[str, ...] = ()) -> None:
        self.reason = reason
        self.place = place
        super().__init__(f"{'.'.join(place)}: {reason}" if place else reason)


def parse(text: str) -> object:
    """Return the JSON document ``text``; raises ValueError, for a key twice and for NaN too."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def compose(value: object, *, indent: int | None = None) -> str:
    """Return the JSON document of ``value``; raises ValueError or TypeError for what no document can hold."""
    return json.dumps(_plain(value), allow_nan=False, indent=indent) + "\n"


def decoder(kind: type[T]) -> Callable[[object], T]:
    """Return the function that turns a parsed document into a ``kind``, or raises :class:`Mismatch`.

    Raises TypeError where ``kind`` has a field of a type that documents don't have.
    """
    return _decoder(kind)


def _plain(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value if isinstance(value, StrEnum) else value.name
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of a document are texts")
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(_plain(each) for each in value)
    if is_dataclass(value):
        found = ((each, getattr(value, each.name)) for each in fields(value))
        return {_key(field): _plain(own) for field, own in found if own is not None or not _advisory(field)}
    raise TypeError(f"no document holds a {type(value).__name__}")


def _key(field: Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


def _advisory(field: Field[Any]) -> bool:
    return bool(field.metadata.get("advisory"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def _within(place: str, decode: Decode, value: object) -> Any:
    try:
        return decode(value)
    except Mismatch as error:
        raise Mismatch(error.reason, (_short(place), *error.place)) from None


def _decoder(kind: Any) -> Decode:
    if kind in _SCALARS:
        return _SCALARS[kind]
    generic = _GENERICS.get(get_origin(kind))
    if generic is not None:
        return generic(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enumeration(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"no document holds a {kind}")


def _scalar(kind: type, words: str) -> Decode:
    def decode(value: object) -> object:
        if type(value) is not kind:  # true is not 1
            raise Mismatch(f"{_shown(value)} where {words} belongs")
        return value

    return decode


def _int(value: object) -> int:
    if type(value) is not int:
        raise Mismatch(f"{_shown(value)} where a whole number belongs")
    if not -_LARGEST <= value < _LARGEST:
        raise Mismatch("a number that is too large")
    return value


def _float(value: object) -> float:
    if type(value) not in (int, float):
        raise Mismatch(f"{_shown(value)} where a number belongs")
    try:
        number = float(value)  # type: ignore[arg-type]  # it is an int or a float
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Mismatch("a number that is too large")
    return number


_SCALARS: Final[Mapping[Any, Decode]] = {
    str: _scalar(str, "text"),
    int: _int,
    float: _float,
    bool: _scalar(bool, "true or false"),
    NoneType: _scalar(NoneType, "null"),
}


def _literal(allowed: tuple[Any, ...]) -> Decode:
    def decode(value: object) -> object:
        for each in allowed:
            if type(value) is type(each) and value == each:
                return each
        raise Mismatch(f"{_shown(value)} where {' or '.join(map(_shown, allowed))} belongs")

    return decode


def _union(kinds: tuple[Any, ...]) -> Decode:
    """Return the decoder of a union: of the type that the value has, else of the one that is no scalar."""
    scalars = {kind: _SCALARS[kind] for kind in kinds if kind in _SCALARS}
    others = [_decoder(kind) for kind in kinds if kind not in _SCALARS]
    if len(others) > 1:
        raise TypeError(f"no document distinguishes the members of {kinds}")
    if float in scalars:
        scalars.setdefault(int, scalars[float])
    fallback = others[0] if others else next(iter(scalars.values()))

    def decode(value: object) -> Any:
        return scalars.get(type(value), fallback)(value)

    return decode


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Mismatch(f"{_shown(value)} where a list belongs")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Mismatch(f"{_shown(value)} where an object belongs")
    return value


def _tuple(kinds: tuple[Any, ...]) -> Decode:
    return _items(_decoder(kinds[0])) if kinds[1:] == (...,) else _row(kinds)


def _items(item: Decode) -> Decode:
    def decode(value: object) -> tuple[Any, ...]:
        return tuple(_within(str(index), item, each) for index, each in enumerate(_list(value)))

    return decode


def _row(kinds: tuple[Any, ...]) -> Decode:
    columns = [_decoder(kind) for kind in kinds]

    def decode(value: object) -> tuple[Any, ...]:
        items = _list(value)
        if len(items) != len(columns):
            raise Mismatch(f"a list of {len(items)} where one of {len(columns)} belongs")
        return tuple(
            _within(str(index), column, each)
            for index, (column, each) in enumerate(zip(columns, items, strict=True))
        )

    return decode


def _set(kinds: tuple[Any, ...]) -> Decode:
    items = _items(_decoder(kinds[0]))

    def decode(value: object) -> frozenset[Any]:
        found = items(value)
        once = frozenset(found)
        if len(once) < len(found):
            raise Mismatch("a value is there twice")
        return once

    return decode


def _mapping(kinds: tuple[Any, ...]) -> Decode:
    if kinds[0] is not str:
        raise TypeError("the keys of a document are texts")
    item = _decoder(kinds[1])

    def decode(value: object) -> Mapping[str, Any]:
        return MappingProxyType({key: _within(key, item, each) for key, each in _object(value).items()})

    return decode


_GENERICS: Final[Mapping[Any, Callable[[tuple[Any, ...]], Decode]]] = {
    Literal: _literal,
    Union: _union,
    UnionType: _union,
    tuple: _tuple,
    frozenset: _set,
    Mapping: _mapping,
}


def _enumeration(kind: type[Enum]) -> Decode:
    members = {str(each.value) if issubclass(kind, StrEnum) else each.name: each for each in kind}

    def decode(value: object) -> Enum:
        member = members.get(value) if isinstance(value, str) else None
        if member is None:
            raise Mismatch(f"{_shown(value)} where one of {', '.join(members)} belongs")
        return member

    return decode


def _dataclass(kind: type) -> Decode:
    hints = get_type_hints(kind)
    known = [(each, _key(each), _decoder(hints[each.name])) for each in fields(kind)]
    keys = frozenset(key for _, key, _ in known)
    validate: Callable[[object], None] | None = getattr(kind, "validate", None)

    def decode(value: object) -> Any:
        document, values = _object(value), dict[str, Any]()
        for field, key, item in known:
            if key in document:
                try:
                    values[field.name] = _within(key, item, document[key])
                except Mismatch:
                    if not _advisory(field):
                        raise
                    values[field.name] = None
            elif not _advisory(field):
                raise Mismatch(f"it has no {key}")
            else:
                values[field.name] = None
        unknown = next((key for key in document if key not in keys), None)
        if unknown is not None:
            raise Mismatch(f"it has {_shown(unknown)}, which is not known here")
        found = kind(**values)
        if validate is not None:
            try:
                validate(found)
            except ValueError as error:
                raise Mismatch(str(error)) from error
        return found

    return decode
