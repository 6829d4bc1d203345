"""Agreement of answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.compare.agreement import Answer, Answers, answer_of, judge
from aiidpd.engines.target import Chunk, Timeline


def asked(a: str, b: str, **more: str) -> Answers:
    ours, theirs = (tuple((end, end) for end in range(1, len(text) + 1)) for text in (a, b))
    again_a, again_b = more.get("again_a", a), more.get("again_b", b)
    return Answers("why?", (Answer(a, ours), Answer(again_a)), (Answer(b, theirs), Answer(again_b)))


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_first_difference_is_where_the_texts_part(a: str, b: str):
    (found,) = judge([asked(a, b)]).prompts
    if not a and not b:
        assert found.same is None
        return
    assert found.same is (a == b)
    if found.character is not None:
        assert a[: found.character] == b[: found.character]
        assert a[found.character : found.character + 1] != b[found.character : found.character + 1]
        assert found.token == (found.character if a else None)
    (other,) = judge([asked(b, a)]).prompts
    assert (other.same, other.character) == (found.same, found.character)


def test_the_share_is_that_of_the_answers_that_can_be_judged():
    found = judge([asked("yes", "yes"), asked("yes", "yet"), asked("yes", "yes", again_b="no")])
    assert (found.judged, found.same, found.share) == (2, 1, 0.5)
    assert found.text == (
        "1 of 2 answers are the same to the last character; the earliest difference is at character 2; "
        "not judged: B's own answers differ from one time to the next, with temperature 0 and a seed"
    )


def test_without_an_answer_it_is_said_that_nothing_was_judged():
    assert judge([]).text == "the answers were not compared"
    found = judge([Answers("why?", reason="it answers 500"), Answers("why?", (Answer("a"),), ())])
    assert found.share is None
    assert found.text == "not judged: it answers 500; not judged: B gave no answer"


def test_the_token_is_that_of_the_chunk_where_the_engine_counts():
    counted = (Chunk(1.0, 3, 1, text="one"), Chunk(2.0, 4, 2, text=" two"))
    answer = answer_of(Timeline(0.0, 2.0, counted))
    assert answer.text == "one two"
    assert [answer.token_at(place) for place in (0, 2, 3, 6, 7)] == [0, 0, 1, 1, 3]
    uncounted = (*counted, Chunk(3.0, 1, text="!"))
    assert answer_of(Timeline(0.0, 3.0, uncounted)) == Answer("one two!")
    assert Answer("one two!").token_at(0) is None


def test_half_a_character_from_a_server_can_be_written():
    (found,) = judge([asked("a\ud800", "ab")]).prompts
    assert found.a.encode() == b"a\\ud800"
