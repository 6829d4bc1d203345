"""etc/aiidpd.toml and docs/configuration.md, made from the descriptions in a schema."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from aiidpd.config.fields import Effect, Table
from aiidpd.config.load import shown
from aiidpd.config.schema import Key, Schema, choices, dotted, is_list, table_type, variable
from aiidpd.config.toml import render

WIDTH = 100

_TOML_HEAD = """\
The configuration of aiidpd, the default of every key shown. To change one, take the # away from
its line, or better, write the change into a file of its own, conf.d/NAME.toml beside this file, which
updates leave alone. Then run "aiidpd check" and "aiidpctl reload".

A duration is a whole number and a unit (ms, s, m, h, d, w), a size a whole number and B, KiB, MiB,
GiB or TiB. The empty string unsets. docs/configuration.md has the rest.
"""

_PAGE_HEAD = """\
# Configuration

<!-- Written by `python -m aiidpd.daemon.reference`; change the descriptions in a settings.py. -->

## Where values come from

Each layer overrides the ones above it, key by key:

| layer | where |
| --- | --- |
| defaults | the tables below |
| file | `/etc/aiidpd/aiidpd.toml`, or the one that `--config FILE` names; only the latter must exist |
| drop-ins | `conf.d/*.toml` beside that file, in the order of their names |
| environment | `AIIDPD_TABLE__KEY`: `AIIDPD_GPU__WARNING_CELSIUS=80`, `AIIDPD_GPU__GOVERNOR__MODE=on` |
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

The last column describes how a change takes effect on a reload.
"""


def example_file(schema: Schema) -> str:
    """Return etc/aiidpd.toml: whatever follows a ``#`` without a space is TOML, and the default."""
    lines = [*_comment(_TOML_HEAD)]
    for table, kind in schema.sections.items():
        lines += ["", "", f"[{dotted(table)}]", *_comment(_doc(kind))]
        for key, field in _own(table, kind):
            lines += ["", *_comment(_meaning(schema, key, field))]
            lines.append(f"#{key[-1]} = {_default(schema, key, field)}")
            if members := schema.member_fields(key):
                lines += [
                    "#",
                    "# For example, in place of the line above:",
                    *_example_entry(schema, key, members),
                ]
    return "\n".join(lines) + "\n"


def page(schema: Schema) -> str:
    """Return docs/configuration.md."""
    lines = [_PAGE_HEAD.rstrip()]
    for table, kind in schema.sections.items():
        lines += ["", f"### `[{dotted(table)}]`", "", _doc(kind), "", *_rows(schema, table, kind)]
        for key, _ in _own(table, kind):
            if members := schema.member_fields(key):
                lines += ["", f"### `[[{dotted(key)}]]`", "", *_member_rows(schema, key, members)]
    return "\n".join(lines) + "\n"


def _own(table: Key, kind: type[Table]) -> Iterator[tuple[Key, FieldInfo]]:
    """Yield the keys of ``table`` itself, without those of the tables in it."""
    for name, field in kind.model_fields.items():
        if is_list(field) or table_type(field) is None:
            yield (*table, name), field


def _rows(schema: Schema, table: Key, kind: type[Table]) -> Iterator[str]:
    yield "| key | default | meaning | reload |"
    yield "| --- | --- | --- | --- |"
    for key, field in _own(table, kind):
        meaning = _cell(f"{_meaning(schema, key, field)} `{variable(key)}`")
        yield f"| `{key[-1]}` | `{_default(schema, key, field)}` | {meaning} | {_how(schema, key)} |"


def _how(schema: Schema, key: Key) -> str:
    """Return how a change of ``key`` takes effect."""
    match schema.effect(key):
        case Effect.LIVE:
            return "at once"
        case Effect.RESTART:
            return "restart"
        case Effect.TASKS:
            return f"tasks of {' and '.join(schema.readers[str(key[0])])} are replaced"


def _member_rows(schema: Schema, key: Key, members: Mapping[str, FieldInfo]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "| --- | --- | --- |"
    for name, field in members.items():
        default = "required" if field.is_required() else f"`{_default(schema, (*key, name), field)}`"
        yield f"| `{name}` | {default} | {_cell(_meaning(schema, (*key, name), field))} |"


def _example_entry(schema: Schema, key: Key, members: Mapping[str, FieldInfo]) -> Iterator[str]:
    yield f"#   [[{dotted(key)}]]"
    for name, field in members.items():
        text = _meaning(schema, (*key, name), field)
        yield from (f"#   # {line}" for line in textwrap.wrap(text, WIDTH - 6))
        value = render(field.examples[0]) if field.examples else _default(schema, (*key, name), field)
        yield f"#   {name} = {value}"


def _meaning(schema: Schema, key: Key, field: FieldInfo) -> str:
    """Return the description with the choices and bounds that the type holds."""
    parts = [field.description or ""]
    if words := choices(field):
        parts.append(f"One of {', '.join(map(render, words))}.")
    least, most = (_bound(schema, key, field, name) for name in ("ge", "le"))
    if least and most:
        parts.append(f"From {least} to {most}.")
    return " ".join(parts)


def _bound(schema: Schema, key: Key, field: FieldInfo, name: str) -> str:
    limits = (getattr(mark, name, None) for mark in field.metadata)
    limit = next((limit for limit in limits if limit is not None), None)
    return "" if limit is None else shown(field, limit, secret=schema.holds_secret(key)).strip('"')


def _default(schema: Schema, key: Key, field: FieldInfo) -> str:
    value: Any = field.default
    return '""' if value is PydanticUndefined else shown(field, value, secret=schema.holds_secret(key))


def _doc(table: type[Table]) -> str:
    return inspect.getdoc(table) or ""


def _comment(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield "#"
        yield from (f"# {line}" for line in textwrap.wrap(paragraph, WIDTH - 2))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
