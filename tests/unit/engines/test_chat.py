"""The chat completion protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.engines import chat
from aiidpd.engines.target import EngineTimings, ProbeRequest
from aiidpd.engines.urls import completions_url
from aiidpd.kernel.errors import Misconfigured


def piece(document: Any) -> chat.Piece:
    return chat.parse(json.dumps(document))


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"delta": fields}]}


@pytest.mark.parametrize(
    ("url", "posted"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/chat/completions"),
        ("https://[::1]/proxy/v1/", "https://[::1]/proxy/v1/chat/completions"),
    ],
)
def test_the_url_may_be_given_with_or_without_its_version(url: str, posted: str):
    assert completions_url(url, "a") == posted


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "ftp://host",
        "http://",
        "http://host:no",
        "http://u:p@host",
        "http://h/?k=1",
        "http://[::1",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_by_the_endpoint_s_name(url: str):
    with pytest.raises(Misconfigured, match="benchmark endpoint gpu0") as caught:
        completions_url(url, "gpu0")
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("form", chat.Form)
def test_a_seed_is_sent_where_one_is_given(form: chat.Form):
    assert json.loads(chat.body("m", ProbeRequest("prompt", 5, 1.0, 2.0, seed=7), form))["seed"] == 7
    assert "seed" not in json.loads(chat.body("m", ProbeRequest("prompt", 5, 1.0, 2.0), form))


def test_a_piece_has_the_text_of_answer_thought_and_call():
    called = {"tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}
    assert piece(delta(content="an", reasoning="swer")).text == "answer"
    assert piece(delta(**called)).text == "add{}"
    assert piece({"content": "own", "stop": False}).text == "own"


def test_the_request_asks_for_a_stream_with_usage_and_no_chance():
    body = json.loads(chat.body("m", ProbeRequest("prompt", 5, 1.0, 2.0)))
    assert body["messages"] == [{"role": "user", "content": "prompt"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("m", 5, 0, True)
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning"])
def test_text_counts_whether_it_is_answer_or_thought(field: str):
    assert piece(delta(**{field: "four"})).characters == 4


def test_the_call_of_a_tool_counts():
    calls = [{"index": 0, "function": {"name": "find", "arguments": ""}}]
    assert piece(delta(tool_calls=calls)).characters == 4
    calls = [{"index": 0, "function": {"arguments": '{"a'}}, {"function": None}, 7]
    assert piece(delta(content=None, tool_calls=calls)).characters == 3


def test_text_is_measured_in_characters_and_in_bytes():
    said = piece(delta(content="h\u00e9\ud800"))
    assert (said.characters, said.text_bytes) == (3, 6)


def test_a_plain_completion_has_its_text():
    said = piece({"choices": [{"text": "four", "finish_reason": "length"}]})
    assert (said.characters, said.finish) == (4, "length")


@pytest.mark.parametrize(
    ("form", "field"), [(chat.Form.COMPLETION, "max_tokens"), (chat.Form.LLAMA_CPP, "n_predict")]
)
def test_the_other_forms_have_a_prompt(form: chat.Form, field: str):
    body = json.loads(chat.body("m", ProbeRequest("prompt", 5, 1.0, 2.0), form))
    assert (body["prompt"], body[field], body["stream"], body["temperature"]) == ("prompt", 5, True, 0)
    assert "messages" not in body


def test_the_count_so_far_is_asked_for_in_the_words_of_each_engine():
    body = json.loads(chat.body("m", ProbeRequest("prompt", 5, 1.0, 2.0), counting=True))
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert body["timings_per_token"] is True


def test_a_chunk_that_only_names_the_role_has_no_text():
    assert piece(delta(role="assistant", content=None)).characters == 0
    assert piece(delta(role="assistant", content="")).characters == 0


def test_usage_and_timings_are_read():
    said = piece(
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 2},
            },
            "timings": {"prompt_n": 7, "prompt_ms": 5, "predicted_n": 3, "predicted_ms": 6.0},
        }
    )
    assert (said.prompt_tokens, said.output_tokens, said.cached_tokens) == (9, 3, 2)
    assert said.engine == EngineTimings(7, 0.005, 3, 0.006)
    assert said.engine.time_per_output_token == pytest.approx(0.002)


def test_what_a_cache_held_and_what_was_drafted_is_read_from_timings_too():
    timings = {"cache_n": 4, "prompt_n": 5, "draft_n": 20, "draft_n_accepted": 12}
    said = piece({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}, "timings": timings})
    assert said.cached_tokens == 4
    assert said.engine is not None
    assert (said.engine.draft_tokens, said.engine.accepted_tokens) == (20, 12)
    usage = {"prompt_tokens_details": {"cached_tokens": 2}}
    assert piece({"choices": [], "usage": usage, "timings": timings}).cached_tokens == 2


def test_a_later_chunk_adds_to_what_is_known_and_takes_nothing_away():
    said = piece({"usage": {"prompt_tokens": 9, "completion_tokens": 1}}).then(piece(delta(content="x")))
    said = said.then(piece({"usage": {"completion_tokens": 3}, "choices": [{"finish_reason": "stop"}]}))
    assert (said.prompt_tokens, said.output_tokens, said.finish, said.characters) == (9, 3, "stop", 1)


@pytest.mark.parametrize("count", [True, -1, 1.5, "7", None, [], 2**40])
def test_a_count_that_is_none_counts_as_not_said(count: Any):
    assert piece({"usage": {"completion_tokens": count}}).output_tokens is None


@pytest.mark.parametrize(
    "milliseconds", ["NaN", "Infinity", "-1", "1e999", "1" + "0" * 400, '"5"', "true", "null"]
)
def test_a_time_that_is_none_counts_as_not_said(milliseconds: str):
    said = chat.parse(f'{{"timings": {{"predicted_n": 3, "predicted_ms": {milliseconds}}}}}')
    assert said.engine is not None
    assert said.engine.output_seconds is None
    assert said.engine.time_per_output_token is None


@pytest.mark.parametrize("data", ["", "{", "[]", "1", "null", '"text"', "[" * 100_000, "{'a': 1}"])
def test_what_is_no_json_object_is_an_error_that_shows_its_beginning(data: str):
    with pytest.raises(chat.MalformedChunkError) as caught:
        chat.parse(data)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "error",
    [{"message": "CUDA out of memory"}, "CUDA out of memory", {"error": {"message": "CUDA out of memory"}}],
)
def test_an_error_in_the_stream_is_told_in_the_server_s_words(error: Any):
    assert piece({"error": error}).error == "CUDA out of memory"


def test_the_body_of_an_error_response_becomes_one_bounded_line():
    assert chat.error_text('{"error": {"code": 503, "message": "Loading\\nmodel"}}') == "Loading model"
    assert chat.error_text('{"detail": "Not Found"}') == "Not Found"
    assert chat.error_text("<html>\n" + "x" * 5000).startswith("<html> xxx")
    assert len(chat.error_text("x" * 5000)) < 250


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "usage", "timings", "error", "message", "predicted_ms"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_breaks_the_parser(document: Any):
    try:
        said = piece(document)
    except chat.MalformedChunkError:
        assert not isinstance(document, dict)
    else:
        assert said.characters >= 0
