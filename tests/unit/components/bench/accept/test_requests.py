"""Requests in bytes, and what answers say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.accept.criteria import Question
from aiidpd.components.bench.accept.requests import answer_text, is_right, question_body, stream_request
from aiidpd.engines.target import ProbeRequest

ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(st.sampled_from(["choices", "message", "content", "x"]), below, max_size=3),
    ),
)


def test_a_request_is_whole_and_closes_its_connection():
    data = stream_request("http://[::1]:8000/a/v1/chat/completions", "m", ProbeRequest("hi", 8, 1, 1), "key")
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a/v1/chat/completions HTTP/1.1"
    assert {"Host: [::1]:8000", "Connection: close", "Authorization: Bearer key"} <= set(lines)
    assert f"Content-Length: {len(body)}" in lines
    assert json.loads(body)["max_tokens"] == 8


def test_a_question_is_posed_at_temperature_0():
    document = json.loads(question_body("m", Question("2 + 2?", "4")))
    assert (document["temperature"], document["stream"]) == (0, False)


@pytest.mark.parametrize(
    ("question", "text", "right"),
    [
        (Question("?", "4"), " 4\n", True),
        (Question("?", "4"), "It is 4", False),
        (Question("?", "4", contains=True), "It is 4", True),
        (Question("?", "Paris", contains=True), "paris", False),
    ],
)
def test_an_answer_is_right_or_not(question: Question, text: str, right: bool):
    assert is_right(question, text) is right


@given(ANYTHING)
def test_any_document_has_a_text_or_is_refused(document: object):
    try:
        found = answer_text(document)
    except ValueError:
        return
    assert isinstance(found, str)


def test_the_text_of_an_answer_is_its_content():
    assert answer_text({"choices": [{"message": {"content": "4"}}]}) == "4"
