"""Timing of a streamed answer: however the bytes are cut, the chunks and their times are the same."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.engines.answer import MOST_BYTES, AnswerReader, Sent, most_chunks
from aiidpd.engines.chat import Piece
from aiidpd.engines.faults import AnswerFaultError, Fault
from aiidpd.engines.target import Chunk, Timeline

SENT = Sent(0.0, 0.001)
DONE = b"data: [DONE]\n\n"


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def text(content: str, **more: Any) -> bytes:
    return event({"choices": [{"delta": {"content": content}}], **more})


def usage(tokens: int) -> bytes:
    return event({"choices": [], "usage": {"completion_tokens": tokens, "prompt_tokens": 9}})


FINISH = event({"choices": [{"delta": {}, "finish_reason": "length"}]})


def whole(reader: AnswerReader, pieces: Iterable[bytes]) -> Timeline:
    """Feed ``pieces`` a second apart; return the record."""
    for at, piece in enumerate(pieces):
        reader.feed(piece, float(at))
    reader.end()
    return reader.timeline(SENT)


def fault_of(*pieces: bytes) -> AnswerFaultError:
    with pytest.raises(AnswerFaultError) as caught:
        whole(AnswerReader(8), pieces)
    return caught.value


def read(pieces: list[bytes], times: list[float], max_tokens: int = 8) -> tuple[list[Chunk], Piece, str]:
    """Return the chunks, the fields and the label of the failure, if any."""
    reader = AnswerReader(max_tokens)
    try:
        for piece, at in zip(pieces, times, strict=True):
            reader.feed(piece, at)
        reader.end()
    except AnswerFaultError as fault:
        return reader.chunks, reader.fields, fault.fault
    return reader.chunks, reader.fields, ""


def test_a_chunk_has_the_time_of_the_bytes_that_complete_it():
    reader = AnswerReader(8)
    sent = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}) + text("a") + text("bc")
    ends = sent.index(b'"bc"') + 2
    assert [each.at for each in reader.feed(sent[:ends], 1.0)] == [1.0]
    assert reader.feed(sent[ends:-1], 2.0) == []
    assert reader.feed(sent[-1:], 3.0) == [Chunk(3.0, 2, None, 2)]
    reader.feed(FINISH + usage(3), 4.0)
    reader.end()
    timeline = reader.timeline(Sent(0.5, 0.001))
    assert [each.at for each in timeline.chunks] == [1.0, 3.0]
    assert (timeline.started, timeline.ended, timeline.output_tokens) == (0.5, 4.0, 3)
    assert timeline.connect_seconds == 0.001


delta = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | st.text(max_size=3),
        "reasoning": st.text(max_size=3),
        "reasoning_content": st.text(max_size=3),
        "role": st.just("assistant"),
        "tool_calls": st.just([{"function": {"name": "f", "arguments": "{}"}}]),
    },
)
events = st.one_of(
    delta.map(lambda each: event({"choices": [{"delta": each}]})),
    st.text(max_size=3).map(lambda each: event({"choices": [{"text": each}]})),
    st.text(max_size=3).map(lambda each: event({"content": each, "stop": False, "tokens_predicted": 3})),
    st.integers(0, 2**33).map(usage),
    st.sampled_from(
        [FINISH, DONE, b": ping\n\n", b"data: {\n\n", b"data: [1]\r\n\r\n", b"\xff\n", b"event: x\n"]
    ),
    st.binary(max_size=12),
)


@given(st.lists(events, max_size=12), st.data())
def test_any_split_of_the_same_bytes_gives_the_same_chunks_at_the_times_of_their_last_bytes(
    pieces: list[bytes], data: st.DataObject
):
    """One byte at a time, at a second each, is the reference: its times say which byte completed a chunk."""
    sent = b"".join(pieces)
    chunks, fields, fault = read([bytes([each]) for each in sent], [float(at) for at in range(len(sent))])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    bounds = [0, *cuts, len(sent)]
    parts = [sent[start:end] for start, end in itertools.pairwise(bounds)]
    times = [float(max(0, end - 1)) for end in bounds[1:]]
    found, same, label = read(parts, times)
    assert label == fault
    assert same == fields
    assert [(each.characters, each.tokens) for each in found] == [
        (each.characters, each.tokens) for each in chunks
    ]
    for cut, exact in zip(found, chunks, strict=True):
        assert cut.at == next(at for at in times if at >= exact.at)


@given(st.lists(st.tuples(st.binary(max_size=40), st.floats(0, 5)), max_size=20))
def test_garbage_raises_the_labelled_failure_and_nothing_else(pieces: list[tuple[bytes, float]]):
    reader, at, fault = AnswerReader(4), 0.0, ""
    try:
        for piece, later in pieces:
            at += later
            reader.feed(piece, at)
        reader.end()
        reader.timeline(SENT)
    except AnswerFaultError as error:
        fault = str(error)
    assert fault or reader.chunks
    assert len(fault) < 300


@pytest.mark.parametrize(
    ("pieces", "fault", "reason"),
    [
        ([text("a"), b"data: {not json\n\n"], Fault.MALFORMED, "no JSON"),
        ([text("a"), b"data: \xff\n\n"], Fault.MALFORMED, "not UTF-8"),
        ([text("a"), event({"error": {"message": "out of memory"}})], Fault.ENGINE_ERROR, "out of memory"),
        ([text("a"), text("b")], Fault.CUT, "the stream ended"),
        ([text("a"), FINISH, usage(3)[:-3]], Fault.CUT, "in the midst of an event"),
        ([FINISH, usage(1), DONE], Fault.EMPTY, "without any text"),
        ([text("a"), FINISH, usage(10**9)], Fault.IMPLAUSIBLE, "counts 1000000000 tokens where 8"),
        ([text("a")] * 200, Fault.TOO_LONG, "more than 80 chunks"),
        ([b": " + b"x" * 100_000 + b"\n"] * 100, Fault.TOO_LONG, "longer than 8 MiB"),
        ([b"data: "] + [b"x" * 100_000] * 4, Fault.MALFORMED, "a line is longer"),
    ],
)
def test_what_is_no_answer_has_a_label_and_a_reason(pieces: list[bytes], fault: Fault, reason: str):
    found = fault_of(*pieces)
    assert (found.fault, reason in str(found)) == (fault, True), str(found)


def test_a_line_without_end_is_refused_before_it_is_held():
    fed = itertools.count()
    with pytest.raises(AnswerFaultError) as caught:
        whole(AnswerReader(8), (b"x" * 65_536 for _ in fed))
    assert caught.value.fault is Fault.MALFORMED
    assert next(fed) * 65_536 < MOST_BYTES


@pytest.mark.parametrize("later", [-1.0, -1e-9, math.nan, math.inf])
def test_a_clock_that_goes_back_is_a_failure_and_no_figure(later: float):
    reader = AnswerReader(8)
    reader.feed(text("a"), 5.0)
    with pytest.raises(AnswerFaultError) as caught:
        reader.feed(text("b"), 5.0 + later)
    assert caught.value.fault is Fault.CLOCK


def test_an_answer_before_its_request_is_a_failure():
    reader = AnswerReader(8)
    reader.feed(text("a") + DONE, 5.0)
    with pytest.raises(AnswerFaultError) as caught:
        reader.timeline(Sent(6.0))
    assert caught.value.fault is Fault.CLOCK


def test_what_follows_done_is_nothing_not_even_garbage():
    reader = AnswerReader(8)
    reader.feed(text("a") + DONE + b"data: {\n\n" + text("b"), 1.0)
    reader.feed(b"\xff\n\n", 2.0)
    reader.end()
    assert reader.done
    assert len(reader.chunks) == 1


def test_a_done_whose_blank_line_is_missing_is_an_end():
    reader = AnswerReader(8)
    reader.feed(text("a") + b"data: [DONE]\n", 1.0)
    reader.end()


def test_the_engine_s_counts_give_each_chunk_its_tokens():
    reader = AnswerReader(80)
    reader.feed(text("", usage={"completion_tokens": 0}), 0.0)
    reader.feed(text("ab", usage={"completion_tokens": 8}), 1.0)
    reader.feed(text("", usage={"completion_tokens": 9}), 2.0)  # part of a character: its text comes later
    reader.feed(text("c", usage={"completion_tokens": 10}), 3.0)
    reader.feed(text("d"), 4.0)
    reader.feed(text("e", timings={"predicted_n": 12}), 5.0)
    reader.feed(text("f", timings={"predicted_n": 13}), 6.0)
    assert [each.tokens for each in reader.chunks] == [8, 2, None, None, 1]


def test_listed_tokens_are_counted():
    reader = AnswerReader(80)
    reader.feed(event({"choices": [{"text": "ab", "token_ids": [5, 6, 7]}]}), 0.0)
    reader.feed(event({"choices": [{"delta": {"content": "c"}, "logprobs": {"content": [{}, {}]}}]}), 1.0)
    reader.feed(event({"choices": [{"text": "ab", "logprobs": {"tokens": ["a"]}}]}), 2.0)
    assert [each.tokens for each in reader.chunks] == [3, 2, 1]


def test_llama_cpp_s_own_form_ends_without_done():
    reader = AnswerReader(8)
    reader.feed(event({"content": "a", "stop": False, "tokens": [4], "tokens_predicted": 1}), 1.0)
    reader.feed(
        event(
            {
                "content": "",
                "stop": True,
                "stop_type": "limit",
                "tokens_predicted": 2,
                "tokens_evaluated": 7,
                "timings": {"predicted_n": 2, "predicted_ms": 5.0, "cache_n": 3},
            }
        ),
        2.0,
    )
    assert reader.done
    timeline = reader.timeline(SENT)
    assert (timeline.finish, timeline.output_tokens, timeline.prompt_tokens) == ("length", 2, 7)
    assert timeline.cached_tokens == 3
    assert timeline.engine is not None
    assert timeline.engine.time_between_tokens == 0.005


def test_what_is_read_together_after_a_delay_may_have_come_earlier_but_for_what_the_kernel_stamped():
    reader = AnswerReader(8)
    reader.feed(text("a"), 1.0)
    reader.feed(text("b") + text("c"), 2.0, 0.4)
    reader.feed(text("d"), 2.0, 0.4)  # the rest of the same reading
    reader.feed(text("e"), 3.0, 0.3)
    assert [each.late for each in reader.chunks] == [0.0, 0.4, 0.4, 0.0, 0.0]
    reader.feed(text("f"), 4.0, 0.2, stamped=False)
    assert reader.chunks[-1].late == 0.2


def test_the_bounds_grow_with_the_request():
    assert most_chunks(8) == 80
    assert most_chunks(4096) == 8256
