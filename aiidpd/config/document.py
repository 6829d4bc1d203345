"""Writes etc/aiidpd.toml and docs/configuration.md from the settings' types and descriptions.

``python -m aiidpd.config.document`` in the root of the repository writes both; a test compares them
with what this module makes, so they always say what the code does.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from aiidpd.config.fields import Effect, Table
from aiidpd.config.keys import Key, effect, holds_secret, keys, member_fields, tables, variable
from aiidpd.config.load import shown
from aiidpd.config.toml import render

WIDTH = 100

_TOML_HEAD = """\
The configuration of aiidpd, the default of every key shown. To change one, take the # away from
its line, or better, write the change into a file of its own, conf.d/NAME.toml beside this file, which
updates leave alone. Then run "aiidpd check" and "aiidpctl reload".

A duration is a whole number and a unit (ms, s, m, h, d, w), a size a whole number and B, KiB, MiB,
GiB or TiB. The empty string unsets. docs/configuration.md tells the rest.
"""

_PAGE_HEAD = """\
# Configuration

<!-- Written by `python -m aiidpd.config.document`; change the descriptions in aiidpd/config/model.py. -->

## Where values come from

Each layer overrides the ones above it, key by key:

| layer | where |
| --- | --- |
| defaults | the tables below |
| file | `/etc/aiidpd/aiidpd.toml`, or the one that `--config FILE` names; only the latter must exist |
| drop-ins | `conf.d/*.toml` beside that file, in the order of their names |
| environment | `AIIDPD_TABLE__KEY`, such as `AIIDPD_GPU__WARNING_CELSIUS=80` |
| credentials | files in `$CREDENTIALS_DIRECTORY`, for secrets |

Tables are merged: a drop-in that sets one key of a table leaves the others as they are. A list is
replaced as a whole, the list of endpoints too. `aiidpctl config show --origin` prints every value with
the file and line, the variable or the credential that set it.

**Environment.** A variable holds the bare value (`AIIDPD_GPU__INTERVAL=2s`); lists are written as in the
file (`AIIDPD_CONTROL__ADMINS='["alice", 1000]'`). A variable that begins with `AIIDPD_` and names no key is
an error, so that a misspelt one is not silently without effect.

**Credentials.** One file is one secret, its name is the key's after `aiidpd.`, and an entry of a list goes by
its name: `aiidpd.bench.endpoints.local.api_key` is the API key of the endpoint named `local`. With systemd:
`LoadCredential=aiidpd.bench.endpoints.local.api_key:/etc/aiidpd/local.key`. A line feed at the end of
the file does not count. A file that begins with `aiidpd.` and names no secret, or an endpoint that is not
there, is an error. Secrets are masked wherever values are shown.

## How values are written

| kind | form |
| --- | --- |
| duration | one whole number and one unit, nothing between: `250ms`, `30s`, `15m`, `12h`, `7d`, `2w` |
| size | the same with `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024) |
| path | absolute |
| calendar time | as systemd writes it: `daily`, `Sun 03:00`, `*-*-01 02:30 Europe/Berlin` |
| unset | the empty string |

A plain number where a duration or size is meant is refused, because it could be seconds or
milliseconds; so are `MB` and `GB`, which could be powers of 1000.

## What a mistake does

`aiidpd check --config FILE` prints every mistake on a line of its own, with file and line, key, value,
what is wrong and what to do, and exits with 2. So does a start. A reload (`aiidpctl reload`, or SIGHUP) with
a mistake, or with a change that takes effect at a start only, changes nothing at all.

## Keys

The last column tells how a change takes effect on a reload.
"""

_EFFECTS = {Effect.LIVE: "at once", Effect.RESTART: "restart"}


def example_file() -> str:
    """Return etc/aiidpd.toml: whatever follows a ``#`` without a space is TOML, and the default."""
    lines = [*_comment(_TOML_HEAD)]
    for name, table in tables().items():
        lines += ["", "", f"[{name}]", *_comment(_doc(table))]
        for key, field in table.model_fields.items():
            lines += ["", *_comment(_meaning((name, key), field))]
            lines.append(f"#{key} = {_default((name, key), field)}")
            members = member_fields((name, key))
            if members:
                lines += [
                    "#",
                    "# For example, in place of the line above:",
                    *_example_entry((name, key), members),
                ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return docs/configuration.md."""
    lines = [_PAGE_HEAD.rstrip()]
    for name, table in tables().items():
        lines += ["", f"### `[{name}]`", "", _doc(table), "", *_rows(name)]
        for key in table.model_fields:
            members = member_fields((name, key))
            if members:
                lines += ["", f"### `[[{name}.{key}]]`", "", *_member_rows((name, key), members)]
    return "\n".join(lines) + "\n"


def main(root: Path) -> None:
    """Write both files below ``root``."""
    (root / "etc" / "aiidpd.toml").write_text(example_file())
    (root / "docs" / "configuration.md").write_text(page())


def _rows(table: str) -> Iterator[str]:
    yield "| key | default | meaning | reload |"
    yield "| --- | --- | --- | --- |"
    for key, field in keys().items():
        if key[0] == table:
            how = _EFFECTS.get(effect(key)) or f"worker {tables()[table].worker} is replaced"
            meaning = _cell(f"{_meaning(key, field)} `{variable(key)}`")
            yield f"| `{key[1]}` | `{_default(key, field)}` | {meaning} | {how} |"


def _member_rows(key: Key, members: dict[str, FieldInfo]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "| --- | --- | --- |"
    for name, field in members.items():
        default = "required" if field.is_required() else f"`{_default((*key, name), field)}`"
        yield f"| `{name}` | {default} | {_cell(_meaning((*key, name), field))} |"


def _example_entry(key: Key, members: dict[str, FieldInfo]) -> Iterator[str]:
    yield f"#   [[{key[0]}.{key[1]}]]"
    for name, field in members.items():
        text = _meaning((*key, name), field)
        yield from (f"#   # {line}" for line in textwrap.wrap(text, WIDTH - 6))
        value = render(field.examples[0]) if field.examples else _default((*key, name), field)
        yield f"#   {name} = {value}"


def _meaning(key: Key, field: FieldInfo) -> str:
    """Return the description with the choices and bounds that the type holds."""
    parts = [field.description or ""]
    if get_origin(field.annotation) is Literal:
        parts.append(f"One of {', '.join(render(choice) for choice in get_args(field.annotation))}.")
    least, most = (_bound(key, field, name) for name in ("ge", "le"))
    if least and most:
        parts.append(f"From {least} to {most}.")
    return " ".join(parts)


def _bound(key: Key, field: FieldInfo, name: str) -> str:
    limits = (getattr(mark, name, None) for mark in field.metadata)
    limit = next((limit for limit in limits if limit is not None), None)
    return "" if limit is None else shown(field, limit, secret=holds_secret(key)).strip('"')


def _default(key: Key, field: FieldInfo) -> str:
    value: Any = field.default
    return '""' if value is PydanticUndefined else shown(field, value, secret=holds_secret(key))


def _doc(table: type[Table]) -> str:
    return inspect.getdoc(table) or ""


def _comment(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield "#"
        yield from (f"# {line}" for line in textwrap.wrap(paragraph, WIDTH - 2))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main(Path.cwd())
