"""Errors of the validation as problems: which file and line, what, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aiidpd.config.fields import Contradiction
from aiidpd.config.origin import Layer, Source, origin_near, origin_of, winners
from aiidpd.config.problems import Problem
from aiidpd.config.schema import Key, Schema, choices, dotted, suggest, unit
from aiidpd.config.toml import render
from aiidpd.config.units import Malformed

_LONGEST_VALUE = 60
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (str, "a string"),
    (list, "a list"),
    (Mapping, "a table"),
    ((date, time), "a date or a time"),
)

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "tuple_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {"greater_than_equal": ("must be at least", "ge"), "less_than_equal": ("must be at most", "le")}


def explain(
    error: ValidationError, schema: Schema, layers: Sequence[Layer], *, complete: bool
) -> Iterator[Problem]:
    """Yield a problem for each error that ``error`` lists.

    Where the layers are not ``complete`` (a file could not be read), contradictions are left out: the
    part that could not be read may settle them.
    """
    won = winners(layers)
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, Contradiction):
            if complete:
                yield from _contradictions(schema, cause, detail["loc"], won, detail["input"])
        else:
            yield _problem(schema, detail, cause, won)


def _problem(schema: Schema, detail: ErrorDetails, cause: object, won: Mapping[Key, Layer]) -> Problem:
    key, given = detail["loc"], detail["input"]
    origin = origin_near(key, won)
    from_file = origin.layer is Source.FILE
    hidden = schema.holds_secret(key) or detail["type"] == "missing"
    if isinstance(cause, Malformed):
        reason, remedy = cause.reason, cause.remedy
        hidden = hidden or cause.hide
    else:
        reason, remedy = _words(schema, detail, key, given, from_file=from_file)
        measure = unit(field) if detail["type"] in _BOUNDS and (field := schema.field_at(key)) else None
        given = measure.format(given) if measure else given  # a bound is compared after the unit is read
    return Problem(str(origin), dotted(key), reason, remedy, None if hidden else _short(given))


def _contradictions(
    schema: Schema, cause: Contradiction, table: Key, won: Mapping[Key, Layer], given: Any
) -> Iterator[Problem]:
    for clash in cause.found:
        key = (*table, clash.key)
        other = (*table, clash.other) if clash.other else key
        # A default can't be at fault: the place to search is the key that it does not fit to.
        near = next((k for k in (key, other) if origin_of(k, won).layer is not Source.DEFAULT), key)
        value = None
        if isinstance(given, Mapping) and clash.key in given and not schema.holds_secret(key):
            value = _short(given[clash.key])
        yield Problem(str(origin_near(near, won)), dotted(key), clash.reason, clash.remedy, value)


def _words(schema: Schema, detail: ErrorDetails, key: Key, given: Any, *, from_file: bool) -> tuple[str, str]:
    """Return reason and remedy for pydantic's own errors (its words speak to programmers)."""
    kind, context, field = detail["type"], detail.get("ctx", {}), schema.field_at(key)
    if kind == "extra_forbidden":
        return _unknown(schema, key, given)
    if wanted := _WANTED.get(kind):
        return _not(wanted, given, from_file=from_file)
    if kind in ("literal_error", "enum"):
        words = choices(field) if field else []
        near = suggest(given, words) if isinstance(given, str) else ""
        return f"must be one of {', '.join(map(render, words))}", near
    if bound := _BOUNDS.get(kind):
        must, name = bound
        measure = unit(field) if field else None
        limit = measure.format(context[name]) if measure else context[name]
        return f"{must} {limit}", ""
    message = detail["msg"]
    return ("is missing", "set it") if kind == "missing" else (f"{message[:1].lower()}{message[1:]}", "")


def _not(wanted: str, given: Any, *, from_file: bool) -> tuple[str, str]:
    if not from_file:  # a variable's value is text, and the type it was taken for means nothing
        return f"must be {wanted}", ""
    kind = next((words for kinds, words in _KINDS if isinstance(given, kinds)), "something else")
    quoted = isinstance(given, str) and wanted == "a whole number" and given.strip().isdigit()
    return f"must be {wanted}, not {kind}", "write it without quotes" if quoted else ""


def _unknown(schema: Schema, key: Key, given: Any) -> tuple[str, str]:
    if moved := _moved(schema, key, given):
        return moved
    word = str(key[-1])
    homes = sorted({dotted(other[:-1]) for other in schema.keys if other[-1] == word})
    elsewhere = f"it belongs into {' or '.join(f'[{home}]' for home in homes)}" if homes else ""
    if len(key) == 1:
        kind = "table" if isinstance(given, Mapping) else "key outside a table"
        remedy = elsewhere or suggest(word, list(schema.tables))
        return f"unknown {kind}", remedy or f"the tables are {', '.join(schema.tables)}"
    known = list(schema.member_fields(key[:-1]))
    remedy = _like_a_moved_key(schema, key) or suggest(word, known) or elsewhere
    return "unknown key", remedy or f"the keys here are {', '.join(known)}"


def _like_a_moved_key(schema: Schema, key: Key) -> str:
    """Return where a key is now whose old name is more like ``key`` than any key that is still there."""
    old = {str(moved[-1]): new for moved, new in schema.moved.items() if moved[:-1] == key[:-1]}
    close = get_close_matches(str(key[-1]), [*schema.member_fields(key[:-1]), *old], n=1)
    return f"did you mean {dotted(old[close[0]])}?" if close and close[0] in old else ""


def _moved(schema: Schema, key: Key, given: Any) -> tuple[str, str] | None:
    """Return reason and remedy for a key, or a whole table, that was there in an earlier version."""
    if new := schema.moved.get(key):
        return "this key has moved", f"it is {dotted(new)} now"
    new_homes = sorted({dotted(new[:-1]) for old, new in schema.moved.items() if old[: len(key)] == key})
    if new_homes and isinstance(given, Mapping):
        return "this table has moved", f"it is {' and '.join(f'[{home}]' for home in new_homes)} now"
    return None


def _short(value: Any) -> str:
    text = render(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
