"""Profiles of acceptance as TOML files have them, read strictly (pure)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiidpd.components.bench.accept.criteria import (
    EXPECTED,
    FIGURES,
    LEAST,
    Bound,
    Concurrency,
    Criterion,
    Profile,
    Question,
    Requests,
)
from aiidpd.components.bench.accept.quantities import Dimension, NotAQuantityError, parse

_MOST: Final = 200
_TEXT_LIMIT: Final = 500
_MOST_REQUESTS: Final = 10_000
_MOST_STREAMS: Final = 4096
_MOST_TOKENS: Final = 65_536
_LONGEST_SECONDS: Final = 86_400


class ProfileError(ValueError):
    """A profile that can't be read: which key, and why."""


def parse_profile(text: str) -> Profile:
    """Return the profile of a TOML file; raises :class:`ProfileError`."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"it is no TOML: {str(error)[:200]}") from None
    _known(
        document, ("name", "text", "requests", "concurrency", "load", "criteria", "answers"), "the profile"
    )
    load = _table(document, "load")
    _known(load, ("duration",), "[load]")
    criteria = tuple(_criterion(row, number) for number, row in _rows(document, "criteria"))
    if not criteria:
        raise ProfileError("it has no [[criteria]]")
    names = [each.name for each in criteria]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ProfileError(f"two criteria share the name {twice[0]}")
    questions = tuple(_question(row, number) for number, row in _rows(document, "answers"))
    if not questions and any(each.figure == "exact_answers" for each in criteria):
        raise ProfileError("a criterion is about exact_answers, and there are no [[answers]]")
    return Profile(
        name=_text(document, "name", "the profile"),
        criteria=criteria,
        text=_text(document, "text", "the profile", ""),
        requests=_requests(_table(document, "requests")),
        concurrency=_concurrency(_table(document, "concurrency")),
        load_seconds=_quantity(load, "duration", "[load]", Dimension.SECONDS, 0.0, (0.0, _LONGEST_SECONDS)),
        questions=questions,
    )


def _requests(table: Mapping[str, Any]) -> Requests:
    where = "[requests]"
    _known(table, ("warm_up", "count", "prompt", "answer", "timeout"), where)
    usual = Requests()
    return Requests(
        warm_up=_whole(table, "warm_up", where, usual.warm_up, (0, _MOST_REQUESTS)),
        count=_whole(table, "count", where, usual.count, (1, _MOST_REQUESTS)),
        prompt_tokens=_tokens(table, "prompt", where, usual.prompt_tokens),
        answer_tokens=_tokens(table, "answer", where, usual.answer_tokens),
        timeout=_quantity(table, "timeout", where, Dimension.SECONDS, usual.timeout, (0.1, _LONGEST_SECONDS)),
    )


def _concurrency(table: Mapping[str, Any]) -> Concurrency:
    where = "[concurrency]"
    _known(table, ("streams", "answer"), where)
    usual = Concurrency()
    return Concurrency(
        streams=_whole(table, "streams", where, usual.streams, (1, _MOST_STREAMS)),
        answer_tokens=_tokens(table, "answer", where, usual.answer_tokens),
    )


def _criterion(row: Mapping[str, Any], number: int) -> Criterion:
    name = _text(row, "name", f"criterion {number}")
    bounds = [bound for bound in Bound if bound.value in row]
    _known(row, ("name", "text", "figure", "engine", "required", *map(str, Bound)), name)
    figure = _text(row, "figure", name)
    if figure not in FIGURES:
        raise ProfileError(f"{name}: figure is one of {', '.join(FIGURES)}")
    if len(bounds) != 1:
        raise ProfileError(f"{name}: it needs one of {', '.join(Bound)}")
    (bound,) = bounds
    dimension = FIGURES[figure]
    if bound.derived:
        can = EXPECTED if bound is Bound.OF_EXPECTED else LEAST
        if figure not in can:
            raise ProfileError(f"{name}: {bound.value} is for {', '.join(sorted(can))} alone")
        dimension = Dimension.SHARE
    limit = _quantity(row, bound.value, name, dimension, None, (0.0, float("inf")))
    if bound is Bound.OF_LEAST and limit < 1:
        raise ProfileError(f"{name}: {bound.value} is 100 % or more: nothing takes less than the least")
    if dimension is Dimension.SHARE and limit > 1 and bound is not Bound.OF_LEAST:
        raise ProfileError(f"{name}: {bound.value} is 100 % at most")
    required = row.get("required", True)
    if not isinstance(required, bool):
        raise ProfileError(f"{name}: required is true or false")
    return Criterion(
        name=name,
        figure=figure,
        bound=bound,
        limit=limit,
        text=_text(row, "text", name, ""),
        engine=_text(row, "engine", name, ""),
        required=required,
    )


def _question(row: Mapping[str, Any], number: int) -> Question:
    where = f"answer {number}"
    _known(row, ("prompt", "equals", "contains"), where)
    if ("equals" in row) == ("contains" in row):
        raise ProfileError(f"{where}: it needs one of equals and contains")
    key = "contains" if "contains" in row else "equals"
    return Question(_text(row, "prompt", where), _text(row, key, where), contains=key == "contains")


def _known(table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    unknown = sorted(table.keys() - set(keys))
    if unknown:
        shown = ", ".join(unknown)[:100]
        raise ProfileError(f"{where} has no key {shown}; it may have {', '.join(keys)}")


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise ProfileError(f"{key} is a table: [{key}]")
    return table


def _rows(document: Mapping[str, Any], key: str) -> list[tuple[int, Mapping[str, Any]]]:
    rows = document.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ProfileError(f"{key} are tables: [[{key}]]")
    if len(rows) > _MOST:
        raise ProfileError(f"it has more than {_MOST} [[{key}]]")
    return list(enumerate(rows, 1))


def _text(row: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT or (default is None and not value.strip()):
        raise ProfileError(f"{where}: {key} is a text of at most {_TEXT_LIMIT} characters")
    return value


def _whole(table: Mapping[str, Any], key: str, where: str, default: int, within: tuple[int, int]) -> int:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not within[0] <= value <= within[1]:
        raise ProfileError(f"{where}: {key} is a whole number from {within[0]} to {within[1]}")
    return value


def _tokens(table: Mapping[str, Any], key: str, where: str, default: int) -> int:
    return int(_quantity(table, key, where, Dimension.TOKENS, default, (1, _MOST_TOKENS)))


def _quantity(  # noqa: PLR0917 -- where it stands, what it is, and its bounds
    table: Mapping[str, Any],
    key: str,
    where: str,
    dimension: Dimension,
    default: float | None,
    within: tuple[float, float],
) -> float:
    if key not in table and default is not None:
        return default
    try:
        value = parse(table.get(key), dimension)
    except NotAQuantityError as error:
        raise ProfileError(f"{where}: {key}: {error}") from None
    if not within[0] <= value <= within[1]:
        raise ProfileError(f"{where}: {key} is from {within[0]:g} to {within[1]:g}, in {dimension.value}")
    return value
