"""Single values of a configuration that can't be used as a whole."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from aiidpd.config.layers import FILE_LIMIT, read_environment, read_files
from aiidpd.config.load import DEFAULT_PATH
from aiidpd.config.problems import Problem
from aiidpd.config.schema import Schema
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.readfile import read_small

_HEADER: Final = re.compile(r"\s*\[\s*(\w+)\s*\]\s*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Values that the layers of a broken configuration hold, the weakest first."""

    schema: Schema
    layers: Sequence[Mapping[str, Any]]

    def values(self, table: str, key: str) -> list[Any]:
        """Return each value of ``key`` that is valid by itself, the strongest first."""
        kind = self.schema.tables[table]
        found = []
        for layer in reversed(self.layers):
            settings = layer.get(table)
            if isinstance(settings, Mapping) and key in settings:
                with suppress(ValidationError):
                    found.append(getattr(kind.model_validate({key: settings[key]}), key))
        return found


def salvage(
    schema: Schema, path: Path | None, environ: Mapping[str, str], *, default_path: Path = DEFAULT_PATH
) -> Salvaged:
    """Return what can be read of the file at ``path``, its drop-ins and ``environ``; raises nothing.

    Of a file that is no TOML it is what each line sets by itself.
    """
    problems: list[Problem] = []
    base = path or default_path
    layers: list[Mapping[str, Any]] = [fragments(text) for text in _unparsed(base)]
    layers += [layer.data for layer in read_files(schema, base, problems, required=path is not None)]
    layers.append(read_environment(schema, environ, problems).data)
    return Salvaged(schema, layers)


def fragments(text: str) -> dict[str, dict[str, Any]]:
    """Return the values, by table and key, that lines of ``text`` set; what is no TOML is left out.

    Where a key is set twice the first counts.
    """
    found: dict[str, dict[str, Any]] = {}
    table = ""
    for line in text.splitlines():
        header = _HEADER.fullmatch(line)
        if header or line.lstrip().startswith("["):
            table = header[1] if header else ""
            continue
        with suppress(ValueError, RecursionError):
            parsed = tomllib.loads(line)
            for name, values in ({table: parsed} if table else parsed).items():
                if isinstance(values, dict):
                    found[name] = values | found.get(name, {})
    return found


def _unparsed(base: Path) -> list[str]:
    """Return the text of each file of the configuration that is no TOML."""
    with suppress(OSError):
        texts = []
        for path in (base, *sorted((base.parent / "conf.d").glob("[!.]*.toml"))):
            with suppress(Misconfigured):
                text = read_small(path, FILE_LIMIT).decode(errors="replace")
                try:
                    tomllib.loads(text)
                except (ValueError, RecursionError):
                    texts.append(text)
        return texts
    return []
