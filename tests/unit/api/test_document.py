from __future__ import annotations

import json
import math
import string
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aiidpd.api.document import (
    SEVERITIES,
    NoOptions,
    Request,
    SnapshotResponse,
    bounded,
    current,
    document_of,
    field_names,
    parse,
    severity_name,
    to_json,
)
from aiidpd.components.bench.api import BenchRequest
from aiidpd.components.thermal.api.gpus import ReleaseRequest
from aiidpd.daemon.reference import every_route
from aiidpd.history.api import EventsQuery
from aiidpd.incidents.api import IncidentQuery
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerState, WorkerStatus

REQUESTS = sorted(
    {kind for route in every_route() for kind in (route.query, route.body) if kind is not None},
    key=lambda kind: kind.__name__,
)
NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=20)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@dataclass(frozen=True, slots=True)
class Wish(Request):
    count: Annotated[int, bounded(ge=1, le=5)] = 1
    text: Annotated[str | None, bounded(max_length=3)] = None
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Tank(SnapshotResponse):
    litres: float = 0.0
    label: str = ""


@given(st.sampled_from(REQUESTS), NAMES, ANYTHING)
def test_a_key_that_is_not_foreseen_is_refused_whatever_its_value(
    kind: type[Request], name: str, value: object
) -> None:
    if name in field_names(kind):
        name += "_"
    with pytest.raises(ValidationError):
        parse(kind, {name: value})


@given(st.sampled_from(REQUESTS), ANYTHING)
def test_what_is_no_object_is_refused(kind: type[Request], value: object) -> None:
    if isinstance(value, Mapping):
        value = [value]
    with pytest.raises(ValidationError):
        parse(kind, value)


@given(st.sampled_from(REQUESTS), st.data())
def test_what_is_taken_is_within_its_types_and_bounds(kind: type[Request], data: st.DataObject) -> None:
    names = field_names(kind)
    given_ = data.draw(st.dictionaries(st.sampled_from(names), ANYTHING)) if names else {}
    try:
        request = parse(kind, given_)
    except ValidationError:
        return
    # What was taken is taken again as it is written, and is the same: nothing was cut or guessed.
    assert parse(kind, json.loads(to_json(request))) == request
    if isinstance(request, ReleaseRequest):
        assert request.seconds is None or 0 < request.seconds <= 86_400
    if isinstance(request, BenchRequest):
        assert request.endpoint is None or len(request.endpoint) <= 200
    if isinstance(request, EventsQuery):
        assert 1 <= request.limit <= 1000
        assert 0 <= request.after_id < 2**63
        assert request.severity in SEVERITIES
    if isinstance(request, IncidentQuery):
        assert 10 <= request.points <= 20_000


@pytest.mark.parametrize(
    ("text", "value"),
    [({"count": "3"}, Wish(count=3)), ({"yes": "true"}, Wish(yes=True)), ({"text": "abc"}, Wish(text="abc"))],
)
def test_a_query_comes_as_text(text: dict[str, str], value: Wish) -> None:
    assert parse(Wish, text) == value


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"count": 6}, {"count": 1.5}, {"text": "abcd"}, {"text": 1}, {"yes": "perhaps"}]
)
def test_what_is_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(Wish, wrong)


def test_json_of_a_request_without_what_was_left_out() -> None:
    assert json.loads(to_json(Wish(count=2), exclude_defaults=True)) == {"count": 2}
    assert to_json(NoOptions()) == b"{}"


def test_a_number_is_never_written_as_what_json_does_not_know() -> None:
    for value in (float("nan"), float("inf")):
        assert json.loads(to_json(Tank(1.0, "", simulated=False, litres=value)))["litres"] is None


@given(st.text(st.characters(exclude_categories=())), st.floats(allow_nan=True, allow_infinity=True))
def test_any_text_is_written(text: str, value: float) -> None:
    """A file's name may be bytes that are no UTF-8, which Python has as lone surrogates."""
    found = json.loads(to_json(Tank(1.0, text, simulated=False, litres=value, label=f"{text}\udcff")))
    assert found["label"] == text.encode("utf-8", "backslashreplace").decode() + "\\udcff"
    assert found["litres"] == (value if math.isfinite(value) else None)


@given(st.sets(st.sampled_from(field_names(Tank))), st.randoms())
def test_a_document_takes_from_its_source_what_is_not_given(names: set[str], random: Random) -> None:
    source = Tank(1.0, "x", simulated=True, litres=2.0, label="a")
    other = Tank(9.0, "y", simulated=False, litres=3.0, label="b")
    order = random.sample(sorted(names), len(names))
    made = document_of(Tank, source, **{name: getattr(other, name) for name in order})
    for name in field_names(Tank):
        assert getattr(made, name) == getattr(other if name in names else source, name)


def test_a_reading_and_none() -> None:
    @dataclass
    class Level:
        litres: float
        label: str

    status = WorkerStatus("tank", WorkerState.RUNNING, simulated=True)
    found = current(Tank, Reading(Level(3.0, "a"), 10.0, 1.0), status, label="b")
    assert found == Tank(10.0, "", simulated=True, litres=3.0, label="b")
    missing = current(Tank, None, status, label="b")
    assert missing.reason.startswith("worker tank is running: no reading yet")
    assert (missing.read_at, missing.litres, missing.label) == (None, 0.0, "b")


def test_each_severity_has_the_name_by_which_it_is_asked_for() -> None:
    assert {severity_name(severity): severity for severity in SEVERITIES.values()} == SEVERITIES
