"""Loading the configuration: defaults < file < drop-ins < environment < credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from aiidpd.config.explain import explain
from aiidpd.config.layers import read_credentials, read_environment, read_files
from aiidpd.config.origin import Layer, Origin, origin_of, winners
from aiidpd.config.problems import InvalidConfiguration, Problem, in_order
from aiidpd.config.schema import Schema, Settings, dotted, flatten, unit
from aiidpd.config.toml import render

DEFAULT_PATH = Path("/etc/aiidpd/aiidpd.toml")
MASK = '"**********"'


@dataclass(frozen=True)
class Loaded:
    """Settings, their schema, and where they came from."""

    schema: Schema
    settings: Settings
    layers: tuple[Layer, ...]

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        """Origin of each dotted key, found when it is first read."""
        won = winners(self.layers)
        return {dotted(key): origin_of(key, won) for key, _, _ in flatten(self.settings)}


def load(
    schema: Schema,
    path: Path | None,
    environ: Mapping[str, str],
    credentials_directory: Path | None = None,
    *,
    default_path: Path = DEFAULT_PATH,
) -> Loaded:
    """Return the settings by ``schema``: the file at ``path``, drop-ins, ``environ``, credentials.

    Without a ``path`` the file at ``default_path`` is read where there is one. Without a
    ``credentials_directory`` the one that ``$CREDENTIALS_DIRECTORY`` in ``environ`` names is read.
    Raises :class:`InvalidConfiguration` (a :class:`~aiidpd.kernel.errors.Misconfigured`) with all
    that is wrong. Reads small files, so it blocks for about as long as a few of them take.
    """
    problems: list[Problem] = []
    layers = read_files(schema, path or default_path, problems, required=path is not None)
    complete = not problems
    layers.append(read_environment(schema, environ, problems))
    if credentials_directory is None and environ.get("CREDENTIALS_DIRECTORY"):
        credentials_directory = Path(environ["CREDENTIALS_DIRECTORY"])
    layers.append(read_credentials(schema, credentials_directory, layers, problems, complete=complete))
    settings: Settings | None = None
    try:
        settings = _merge(schema, layers)
    except ValidationError as error:
        problems.extend(explain(error, schema, layers, complete=complete))
    if settings is None or problems:
        # Raised out here without pydantic's error as its cause, which holds the input and its secrets.
        raise InvalidConfiguration(in_order(problems))
    return Loaded(schema, settings, tuple(layers))


def describe(loaded: Loaded) -> list[tuple[str, str, Origin]]:
    """Return every key with its value as TOML writes it and its origin. Secrets are masked."""
    return [
        (
            dotted(key),
            shown(field, value, secret=loaded.schema.holds_secret(key)),
            loaded.origins[dotted(key)],
        )
        for key, field, value in flatten(loaded.settings)
    ]


def shown(field: FieldInfo, value: Any, *, secret: bool) -> str:
    """Return ``value`` as the file writes it; an unset value is the empty string."""
    if value is None:
        return '""'
    if secret and value:
        return MASK
    measure = unit(field)
    return render(measure.format(value) if measure else value)


def _merge(schema: Schema, layers: Sequence[Layer]) -> Settings:
    sources = tuple(_LayerSource(schema, layer) for layer in reversed(layers))
    return schema.settings(sources=sources)  # type: ignore[call-arg]


class _LayerSource(PydanticBaseSettingsSource):
    """One layer, as pydantic-settings takes it: it merges the tables of all, the first given wins."""

    def __init__(self, schema: Schema, layer: Layer) -> None:
        super().__init__(schema.settings)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._layer.data.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(self._layer.data)
