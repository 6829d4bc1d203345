"""Turning the findings of the validation into problems: which file and line, what, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aiidpd.config.fields import Contradiction
from aiidpd.config.keys import Key, dotted, field_at, holds_secret, keys, member_fields, suggest, tables, unit
from aiidpd.config.origin import Layer, Source, origin_near, origin_of, winners
from aiidpd.config.problems import Problem
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


def explain(error: ValidationError, layers: Sequence[Layer], *, complete: bool) -> Iterator[Problem]:
    """Yield a problem for each finding in ``error``.

    Where the layers are not ``complete`` (a file could not be read), contradictions are left out: the
    part that could not be read may settle them.
    """
    won = winners(layers)
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, Contradiction):
            if complete:
                yield from _contradictions(cause, detail["loc"], won, detail["input"])
        else:
            yield _problem(detail, cause, won)


def _problem(detail: ErrorDetails, cause: object, won: Mapping[Key, Layer]) -> Problem:
    key, given = detail["loc"], detail["input"]
    origin = origin_near(key, won)
    from_file = origin.layer is Source.FILE
    hidden = holds_secret(key) or detail["type"] == "missing"
    if isinstance(cause, Malformed):
        reason, remedy = cause.reason, cause.remedy
        hidden = hidden or cause.hide
    else:
        reason, remedy = _words(detail, key, given, from_file=from_file)
        measure = unit(field) if detail["type"] in _BOUNDS and (field := field_at(key)) else None
        given = measure.format(given) if measure else given  # a bound is compared after the unit is read
    return Problem(str(origin), dotted(key), reason, remedy, None if hidden else _short(given))


def _contradictions(
    cause: Contradiction, table: Key, won: Mapping[Key, Layer], given: Any
) -> Iterator[Problem]:
    for clash in cause.found:
        key = (*table, clash.key)
        other = (*table, clash.other) if clash.other else key
        # A default can't be at fault: the place to look is the key that it does not fit to.
        near = next((k for k in (key, other) if origin_of(k, won).layer is not Source.DEFAULT), key)
        value = None
        if isinstance(given, Mapping) and clash.key in given and not holds_secret(key):
            value = _short(given[clash.key])
        yield Problem(str(origin_near(near, won)), dotted(key), clash.reason, clash.remedy, value)


def _words(detail: ErrorDetails, key: Key, given: Any, *, from_file: bool) -> tuple[str, str]:
    """Return reason and remedy for pydantic's own findings (its words speak to programmers)."""
    kind, context, field = detail["type"], detail.get("ctx", {}), field_at(key)
    if kind == "extra_forbidden":
        return _unknown(key, given)
    if wanted := _WANTED.get(kind):
        return _not(wanted, given, from_file=from_file)
    if kind == "literal_error":
        choices = _choices(field)
        near = suggest(given, choices) if isinstance(given, str) else ""
        return f"must be one of {', '.join(render(choice) for choice in choices)}", near
    if bound := _BOUNDS.get(kind):
        words, name = bound
        measure = unit(field) if field else None
        limit = measure.format(context[name]) if measure else context[name]
        return f"{words} {limit}", ""
    words = detail["msg"]
    return ("is missing", "set it") if kind == "missing" else (f"{words[:1].lower()}{words[1:]}", "")


def _choices(field: FieldInfo | None) -> list[str]:
    """Return the words that a key accepts, or nothing where it is not a choice."""
    return [str(choice) for choice in get_args(field.annotation)] if field else []


def _not(wanted: str, given: Any, *, from_file: bool) -> tuple[str, str]:
    if not from_file:  # a variable's value is text, and what it was taken for says nothing
        return f"must be {wanted}", ""
    kind = next((words for kinds, words in _KINDS if isinstance(given, kinds)), "something else")
    quoted = isinstance(given, str) and wanted == "a whole number" and given.strip().isdigit()
    return f"must be {wanted}, not {kind}", "write it without quotes" if quoted else ""


def _unknown(key: Key, given: Any) -> tuple[str, str]:
    word = str(key[-1])
    if len(key) == 1:
        kind = "table" if isinstance(given, Mapping) else "key outside a table"
        owners = [f"[{table}]" for table, name in keys() if name == word]
        remedy = f"it belongs into {' or '.join(owners)}" if owners else suggest(word, list(tables()))
        return f"unknown {kind}", remedy or f"the tables are {', '.join(tables())}"
    known = list(member_fields(key[:-1]))
    owners = [f"[{table}]" for table, name in keys() if name == word]
    remedy = suggest(word, known) or (f"it belongs into {' or '.join(owners)}" if owners else "")
    return "unknown key", remedy or f"the keys here are {', '.join(known)}"


def _short(value: Any) -> str:
    text = render(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
