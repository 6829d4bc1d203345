"""Schema of a configuration: made of the tables that rooms and components declare, never listed twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin

from pydantic import SecretStr, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aiidpd.config.fields import Effect, Table, Unit, Was
from aiidpd.config.toml import render_key

Key: TypeAlias = tuple[str | int, ...]
TableT = TypeVar("TableT", bound=Table)
PREFIX = "AIIDPD_"


class Settings(BaseSettings):
    """A whole configuration; :attr:`Schema.settings` derives from it and has a field for each table."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def table(self, name: str, kind: type[TableT]) -> TableT:
        """Return the table ``name``, which is of type ``kind``; TypeError where it is of another."""
        table = getattr(self, name)
        if not isinstance(table, kind):
            raise TypeError(f"the table {name} is a {type(table).__name__}, not a {kind.__name__}")
        return table

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 -- the hook's signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- our own refuses unknown variables
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the sources that ``load`` hands over as the argument ``sources``, else the arguments alone."""
        given: dict[str, Any] = (
            init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        )
        sources: tuple[PydanticBaseSettingsSource, ...] | None = given.get("sources")
        return (init_settings,) if sources is None else sources


@dataclass(frozen=True, slots=True)
class Secret:
    """A key whose value may be given as a credential.

    ``within`` is the list of tables whose entries have it, empty for a key that exists once.
    """

    key: Key
    within: Key = ()

    @property
    def credential(self) -> str:
        """Name of the credential: that of the key, where NAME is an entry's ``name``."""
        name = (*self.within, "NAME", self.key[-1]) if self.within else self.key
        return ".".join(("aiidpd", *map(str, name)))

    def entry(self, credential: str) -> str | None:
        """Return whose secret ``credential`` is: an entry's name, or "" of a key that exists once."""
        match = re.fullmatch(re.escape(self.credential).replace("NAME", "(.+)"), credential)
        return None if match is None else "".join(match.groups())


@dataclass(frozen=True)
class Schema:
    """All tables by name, in the order of the file, and the components that read each.

    A change of a key replaces the tasks of its table's ``readers``. A table that none reads is read at the
    start only, but for the keys that are marked as taking effect in place.
    """

    tables: Mapping[str, type[Table]]
    readers: Mapping[str, tuple[str, ...]]

    @cached_property
    def settings(self) -> type[Settings]:
        """Type of a whole configuration; without arguments it makes the defaults."""
        fields: dict[str, Any] = {name: (table, table()) for name, table in self.tables.items()}
        return create_model("Settings", __base__=Settings, **fields)

    @cached_property
    def keys(self) -> Mapping[Key, FieldInfo]:
        """Every key of every table and of the tables in it: ``("gpu", "governor", "mode")`` and so on."""
        return {key: field for name, table in self.tables.items() for key, field in _keys((name,), table)}

    @cached_property
    def sections(self) -> Mapping[Key, type[Table]]:
        """Every table and the tables in it, each before what is in it."""
        return {key: kind for name, table in self.tables.items() for key, kind in _sections((name,), table)}

    @cached_property
    def variables(self) -> Mapping[str, Key]:
        """Key that each environment variable sets."""
        return {variable(key): key for key in self.keys}

    @cached_property
    def moved(self) -> Mapping[Key, Key]:
        """New place of each key that was elsewhere in an earlier version."""
        return {
            mark.key: key
            for key, field in self.keys.items()
            for mark in field.metadata
            if isinstance(mark, Was)
        }

    @cached_property
    def secrets(self) -> tuple[Secret, ...]:
        """Keys that hold a secret."""
        found: list[Secret] = []
        for key, field in self.keys.items():
            member = table_type(field)
            if member is None:
                found += [Secret(key)] if _is_secret(field) else []
            else:
                secrets = (name for name, each in member.model_fields.items() if _is_secret(each))
                found += [Secret((*key, name), within=key) for name in secrets]
        return tuple(found)

    def field_at(self, key: Key) -> FieldInfo | None:
        """Return the field that ``key`` names, inside lists of tables too; None where there is none."""
        field: FieldInfo | None = None
        fields: Mapping[str, FieldInfo] = self.settings.model_fields
        for part in key:
            if isinstance(part, int):
                continue
            field = fields.get(part)
            if field is None:
                return None
            fields = member.model_fields if (member := table_type(field)) else {}
        return field

    def member_fields(self, key: Key) -> Mapping[str, FieldInfo]:
        """Return the fields of the table at ``key``, or of the tables in the list there."""
        if not key:
            return self.settings.model_fields
        field = self.field_at(key)
        member = table_type(field) if field else None
        return member.model_fields if member else {}

    def holds_secret(self, key: Key) -> bool:
        """Return whether a value at ``key`` must not be shown: it holds a secret, or might (no such key)."""
        field = self.field_at(key)
        if field is None:
            return True
        member = table_type(field)
        if member is None:
            return _is_secret(field)
        return any(self.holds_secret((*key, name)) for name in member.model_fields)

    def effect(self, key: Key) -> Effect:
        """Return how a change of ``key`` takes effect on a reload."""
        for mark in self.keys[key].metadata:
            if isinstance(mark, Effect):
                return mark
        return Effect.TASKS if self.readers.get(str(key[0])) else Effect.RESTART


def variable(key: Key) -> str:
    """Return the environment variable for ``key``: ``AIIDPD_GPU__INTERVAL``."""
    return PREFIX + "__".join(str(part) for part in key).upper()


def dotted(key: Key) -> str:
    """Return ``key`` as people read it: ``bench.endpoints[0].url``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{render_key(part)}" for part in key)
    return "".join(parts).removeprefix(".")


def is_list(field: FieldInfo) -> bool:
    """Return whether ``field`` is a list."""
    return get_origin(field.annotation) is tuple


def unit(field: FieldInfo) -> Unit | None:
    """Return the unit in which ``field`` is written."""
    return next((mark for mark in field.metadata if isinstance(mark, Unit)), None)


def choices(field: FieldInfo) -> list[str]:
    """Return the words that ``field`` accepts, nothing where it is not a choice."""
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [str(each) for each in kind]
    return [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else []


def table_type(field: FieldInfo) -> type[Table] | None:
    """Return the type of the table that ``field`` is, or is a list of."""
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Table):
            return candidate
    return None


def flatten(settings: Settings) -> Iterator[tuple[Key, FieldInfo, Any]]:
    """Yield every key with its field and value; lists of tables are followed, other lists are one value."""
    for name in type(settings).model_fields:
        yield from _flatten((name,), getattr(settings, name))


def value_at(settings: Settings, key: Key) -> Any:
    """Return the value of ``key``, one of :attr:`Schema.keys`."""
    value: Any = settings
    for part in key:
        value = getattr(value, str(part))
    return value


def suggest(word: str, known: list[str]) -> str:
    """Return "did you mean ...?" where something in ``known`` is like ``word``, else what there is."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _keys(key: Key, table: type[Table]) -> Iterator[tuple[Key, FieldInfo]]:
    for name, field in table.model_fields.items():
        nested = None if is_list(field) else table_type(field)
        if nested is None:
            yield (*key, name), field
        else:
            yield from _keys((*key, name), nested)


def _sections(key: Key, table: type[Table]) -> Iterator[tuple[Key, type[Table]]]:
    yield key, table
    for name, field in table.model_fields.items():
        nested = None if is_list(field) else table_type(field)
        if nested is not None:
            yield from _sections((*key, name), nested)


def _flatten(key: Key, table: Table) -> Iterator[tuple[Key, FieldInfo, Any]]:
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, Table):
            yield from _flatten((*key, name), value)
        elif value and isinstance(value, tuple) and isinstance(value[0], Table):
            for index, item in enumerate(value):
                yield from _flatten((*key, name, index), item)
        else:
            yield (*key, name), field, value


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))
