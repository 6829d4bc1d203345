from __future__ import annotations

import re
import tomllib
from pathlib import Path

from aiidpd.config.document import example_file, main, page
from aiidpd.config.keys import dotted, keys, variables
from aiidpd.config.load import load
from aiidpd.config.model import Settings

ROOT = Path(__file__).parents[3]
HOW = "run python -m aiidpd.config.document"


def test_the_files_in_the_repository_are_what_the_code_says(tmp_path: Path):
    assert (ROOT / "etc" / "aiidpd.toml").read_text() == example_file(), HOW
    assert (ROOT / "docs" / "configuration.md").read_text() == page(), HOW
    for name in ("etc", "docs"):
        (tmp_path / name).mkdir()
    main(tmp_path)
    assert (tmp_path / "etc" / "aiidpd.toml").read_text() == example_file()
    assert (tmp_path / "docs" / "configuration.md").read_text() == page()


def test_the_shipped_file_changes_nothing():
    loaded = load(ROOT / "etc" / "aiidpd.toml", {})
    assert loaded.settings == Settings()
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}


def test_the_shipped_file_holds_every_key_with_its_default(tmp_path: Path):
    text = re.sub(r"^#(?=\S)", "", example_file(), flags=re.MULTILINE)
    data = tomllib.loads(text)
    assert {f"{table}.{key}" for table, values in data.items() for key in values} == {
        dotted(key) for key in keys()
    }
    path = tmp_path / "aiidpd.toml"
    path.write_text(text)
    assert load(path, {}).settings == Settings()


def test_the_example_of_an_endpoint_can_be_used(tmp_path: Path):
    text = re.sub(r"^#   ", "", example_file(), flags=re.MULTILINE)
    path = tmp_path / "aiidpd.toml"
    path.write_text(text)
    [endpoint] = load(path, {}).settings.bench.endpoints
    assert (endpoint.name, endpoint.kind, endpoint.api_key) == ("local", "openai", None)


def test_the_page_names_every_key_and_variable():
    text = page()
    assert all(f"`{name}`" in text for name in variables())
    assert all(f"\n| `{key}` |" in text for _, key in keys())


def test_lines_are_short_enough_to_read():
    assert max(len(line) for line in example_file().split("\n")) <= 100
