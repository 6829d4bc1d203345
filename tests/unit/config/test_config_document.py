from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiidpd.config.document import example_file, page
from aiidpd.config.load import load
from aiidpd.config.schema import dotted
from aiidpd.daemon.schema import SCHEMA

ROOT = Path(__file__).parents[3]


def names(table: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from names(value, f"{within}{key}.")
        else:
            yield within + key


def test_the_shipped_file_changes_nothing():
    loaded = load(SCHEMA, ROOT / "etc" / "aiidpd.toml", {})
    assert loaded.settings == SCHEMA.settings()
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}


def test_the_shipped_file_holds_every_key_with_its_default(tmp_path: Path):
    text = re.sub(r"^#(?=\S)", "", example_file(SCHEMA), flags=re.MULTILINE)
    data = tomllib.loads(text)
    assert set(names(data)) == {dotted(key) for key in SCHEMA.keys}
    path = tmp_path / "aiidpd.toml"
    path.write_text(text)
    assert load(SCHEMA, path, {}).settings == SCHEMA.settings()


def test_the_example_of_an_endpoint_can_be_used(tmp_path: Path):
    text = re.sub(r"^#   ", "", example_file(SCHEMA), flags=re.MULTILINE)
    path = tmp_path / "aiidpd.toml"
    path.write_text(text)
    [endpoint] = load(SCHEMA, path, {}).settings.bench.endpoints
    assert (endpoint.name, endpoint.kind, endpoint.api_key) == ("local", "openai", None)


def test_the_page_names_every_key_and_variable():
    text = page(SCHEMA)
    assert all(f"`{name}`" in text for name in SCHEMA.variables)
    assert all(f"\n| `{key[-1]}` |" in text for key in SCHEMA.keys)


def test_lines_are_short_enough_to_read():
    assert max(len(line) for line in example_file(SCHEMA).split("\n")) <= 100
