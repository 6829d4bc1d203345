"""Keys of the configuration: found in the types of the settings, never listed a second time."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeAlias, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from aiidpd.config.fields import Effect, Table, Unit
from aiidpd.config.model import Settings
from aiidpd.config.toml import render_key

Key: TypeAlias = tuple[str | int, ...]
PREFIX = "AIIDPD_"


@cache
def tables() -> dict[str, type[Table]]:
    """Return the tables by name, in the order of the file."""
    return {name: _model(field) for name, field in Settings.model_fields.items()}


@cache
def keys() -> dict[Key, FieldInfo]:
    """Return every key of every table: ``("gpu", "interval")`` and so on."""
    return {
        (name, key): field for name, table in tables().items() for key, field in table.model_fields.items()
    }


@cache
def variables() -> dict[str, Key]:
    """Return the environment variable that sets each key."""
    return {variable(key): key for key in keys()}


def variable(key: Key) -> str:
    """Return the environment variable for ``key``: ``AIIDPD_GPU__INTERVAL``."""
    return PREFIX + "__".join(str(part) for part in key).upper()


def dotted(key: Key) -> str:
    """Return ``key`` as people read it: ``bench.endpoints[0].url``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{render_key(part)}" for part in key)
    return "".join(parts).removeprefix(".")


def field_at(key: Key) -> FieldInfo | None:
    """Return the field that ``key`` names, inside lists of tables too; None where there is none."""
    field: FieldInfo | None = None
    fields: dict[str, FieldInfo] = Settings.model_fields
    for part in key:
        if isinstance(part, int):
            continue
        field = fields.get(part)
        if field is None:
            return None
        fields = member.model_fields if (member := _member(field)) else {}
    return field


def member_fields(key: Key) -> dict[str, FieldInfo]:
    """Return the fields of the table at ``key``, or of the tables in the list there."""
    if not key:
        return Settings.model_fields
    field = field_at(key)
    member = _member(field) if field else None
    return member.model_fields if member else {}


def holds_secret(key: Key) -> bool:
    """Whether a value at ``key`` must not be shown: it is a secret, holds one, or might (no such key)."""
    field = field_at(key)
    if field is None:
        return True
    member = _member(field)
    if member is None:
        return SecretStr in (field.annotation, *get_args(field.annotation))
    return any(holds_secret((*key, name)) for name in member.model_fields)


def is_list(field: FieldInfo) -> bool:
    """Whether ``field`` is a list."""
    return get_origin(field.annotation) is tuple


def unit(field: FieldInfo) -> Unit | None:
    """Return the unit in which ``field`` is written."""
    return next((mark for mark in field.metadata if isinstance(mark, Unit)), None)


def effect(key: Key) -> Effect:
    """Return how a change of ``key`` (table and key) takes effect on a reload."""
    for mark in keys()[key].metadata:
        if isinstance(mark, Effect):
            return mark
    return Effect.WORKER if tables()[str(key[0])].worker else Effect.RESTART


def flatten(settings: Settings) -> Iterator[tuple[Key, FieldInfo, Any]]:
    """Yield every key with its field and value; lists of tables are followed, other lists are one value."""
    for name in tables():
        yield from _flatten((name,), getattr(settings, name))


def suggest(word: str, known: list[str]) -> str:
    """Return "did you mean ...?" where something in ``known`` is like ``word``, else what there is."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _flatten(key: Key, table: Table) -> Iterator[tuple[Key, FieldInfo, Any]]:
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        if value and isinstance(value, tuple) and isinstance(value[0], Table):
            for index, item in enumerate(value):
                yield from _flatten((*key, name, index), item)
        else:
            yield (*key, name), field, value


def _member(field: FieldInfo) -> type[Table] | None:
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Table):
            return candidate
    return None


def _model(field: FieldInfo) -> type[Table]:
    model = _member(field)
    if model is None:
        raise TypeError("the settings hold something that is no table")
    return model
