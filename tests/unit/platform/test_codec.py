"""Documents of a declared shape: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.platform.codec import Mismatch, compose, decoder, parse


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Grade(IntEnum):
    LOW = 10
    HIGH = 20


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    colour: Colour | None
    ratio: float | None = None

    def validate(self) -> None:
        if self.name == "refused":
            raise ValueError("it is called refused")


@dataclass(frozen=True, slots=True)
class Whole:
    version: Literal[1] = field(metadata={"key": "format"})
    count: int
    share: float
    right: bool
    grade: Grade
    inner: Inner
    row: tuple[int, str]
    tags: frozenset[str]
    items: tuple[Inner, ...]
    by_name: Mapping[str, Mapping[str, str | int | float | bool | None]]
    hint: float | None = field(default=None, metadata={"advisory": True})
    aside: Inner | None = field(default=None, metadata={"advisory": True})


decode = decoder(Whole)
whole = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
inner = st.builds(
    Inner,
    st.text().filter(lambda text: text != "refused"),
    st.none() | st.sampled_from(Colour),
    st.none() | floats,
)
scalars = st.none() | st.booleans() | whole | floats | st.text()
wholes = st.builds(
    Whole,
    version=st.just(1),
    count=whole,
    share=floats,
    right=st.booleans(),
    grade=st.sampled_from(Grade),
    inner=inner,
    row=st.tuples(whole, st.text()),
    tags=st.frozensets(st.text()),
    items=st.lists(inner, max_size=4).map(tuple),
    by_name=st.dictionaries(st.text(), st.dictionaries(st.text(), scalars, max_size=4), max_size=4),
    hint=st.none() | floats,
    aside=st.none() | inner,
)
documents = st.recursive(
    scalars, lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4)
)
ONE = Whole(1, 2, 0.5, True, Grade.LOW, Inner("a", Colour.RED), (3, "b"), frozenset({"t"}), (), {})


def types(value: object) -> object:
    """Return the types of all that is in ``value``: 1, 1.0 and True are equal, and not the same."""
    if isinstance(value, Mapping):
        return {key: types(each) for key, each in value.items()}
    if isinstance(value, Inner):
        return types(value.name), types(value.colour), types(value.ratio)
    if isinstance(value, tuple):
        return tuple(map(types, value))
    return type(value)


@given(wholes)
def test_what_is_written_is_read(value: Whole) -> None:
    found = decode(parse(compose(value)))
    assert found == value
    assert types(found.by_name) == types(value.by_name)
    assert types(found.items) == types(value.items)
    assert compose(found) == compose(value)


@given(documents)
def test_no_other_document_is_more_than_a_mismatch(document: object) -> None:
    with pytest.raises(Mismatch):
        decode(document)


@given(st.text() | documents.map(json.dumps))
def test_no_text_is_more_than_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(parse(text))


@given(wholes, st.data())
def test_a_value_of_another_type_anywhere_is_refused_or_no_more_than_advice(value: Whole, data: Any) -> None:
    document = json.loads(compose(value))
    name = data.draw(st.sampled_from(sorted(document)))
    document[name] = data.draw(st.sampled_from([[[]], {"": []}, "\0", 1.5, math.nan]))
    if name in ("hint", "aside"):
        hint = 1.5 if (name, document[name]) == ("hint", 1.5) else None
        assert decode(document) == replace(value, **{name: hint})
    elif name == "share" and document[name] == 1.5:
        assert decode(document).share == 1.5
    else:
        with pytest.raises(Mismatch):
            decode(document)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2, "later": 1}, "format: 2 where 1 belongs"),
        ({"format": True}, "format: true where 1 belongs"),
        ({"format": 1.0}, "format: 1.0 where 1 belongs"),
        ({"version": 1}, 'it has "version", which is not known here'),
        ({"count": 1.0}, "count: 1.0 where a whole number belongs"),
        ({"count": True}, "count: true where a whole number belongs"),
        ({"count": 2**63}, "count: a number that is too large"),
        ({"share": True}, "share: true where a number belongs"),
        ({"share": math.inf}, "share: a number that is too large"),
        ({"share": 10**400}, "share: a number that is too large"),
        ({"right": 1}, "right: 1 where true or false belongs"),
        ({"grade": 10}, "grade: 10 where one of LOW, HIGH belongs"),
        ({"grade": "low"}, 'grade: "low" where one of LOW, HIGH belongs'),
        ({"inner": None}, "inner: null where an object belongs"),
        (
            {"inner": {"name": "a", "colour": "green", "ratio": None}},
            'inner.colour: "green" where one of red, blue',
        ),
        ({"inner": {"name": "a", "colour": None}}, "inner: it has no ratio"),
        ({"inner": {"name": "refused", "colour": None, "ratio": 1}}, "inner: it is called refused"),
        ({"row": [1]}, "row: a list of 1 where one of 2 belongs"),
        ({"row": [1, 2]}, "row.1: 2 where text belongs"),
        ({"tags": ["a", "a"]}, "tags: a value is there twice"),
        ({"items": {}}, "items: an object where a list belongs"),
        ({"items": [{"name": "x" * 100}]}, "items.0: it has no colour"),
        ({"items": [{"name": ["x"]}]}, "items.0.name: a list where text belongs"),
        ({"by_name": {"gpu": {"n": []}}}, "by_name.gpu.n: a list where"),
        ({"by_name": {"x" * 100: 1}}, f"by_name.{'x' * 60}...: 1 where an object belongs"),
        ({"count": "9" * 100}, f'count: "{"9" * 59}... where a whole number belongs'),
    ],
)
def test_a_mismatch_says_where_and_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Mismatch) as caught:
        decode(json.loads(compose(ONE)) | changes)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("advice", ["soon", True, [], math.nan, None])
def test_advice_that_makes_no_sense_is_none(advice: object) -> None:
    document = json.loads(compose(ONE)) | {"hint": advice, "aside": {"name": "refused"}}
    assert decode(document) == ONE


def test_advice_that_is_not_there_is_not_written() -> None:
    assert not {"hint", "aside"} & json.loads(compose(ONE)).keys()
    assert json.loads(compose(ONE))["inner"]["ratio"] is None


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 1}', "[NaN]", "[-Infinity]", "[" * 100_000, "", "{", "\ufeff{}", "1" * 5000, "{} {}"],
)
def test_what_is_no_document_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1: 2}, b"", {"a": object()}, [1]])
def test_what_no_document_can_hold_is_not_written(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        compose(value)


@dataclass(frozen=True)
class Odd:
    value: Any


@pytest.mark.parametrize(
    "kind",
    [bytes, object, list[int], Mapping[int, str], tuple[int, str] | frozenset[int], Mapping[str, set[str]]],
)
def test_a_type_that_documents_do_not_have_is_refused_at_once(kind: Any) -> None:
    with pytest.raises(TypeError):
        decoder(kind)
    with pytest.raises(TypeError):
        decoder(Odd)
