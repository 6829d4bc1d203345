"""Users of a workload: their requests, and the conversations that they are in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.users import Request, User, after, request_of, wait_of
from aiidpd.components.bench.load.workloads import WORKLOADS

NAMES = st.sampled_from(sorted(WORKLOADS))
ANSWERS = st.lists(st.one_of(st.none(), st.text(max_size=9)), min_size=1, max_size=12)


def played(name: str, seed: int, answers: list[str | None], number: int = 0) -> list[tuple[User, Request]]:
    workload, draws, user = WORKLOADS[name], Draws(seed), User(number)
    found = []
    for answer in answers:
        request = request_of(user, workload, draws, "nonce")
        assert workload.wait[0] <= wait_of(user, workload, draws) <= workload.wait[1]
        found.append((user, request))
        user = after(user, workload, draws, request, answer)
    return found


@given(NAMES, st.integers(0, 999), ANSWERS)
def test_the_same_seed_and_answers_give_the_same_requests(name: str, seed: int, answers: list[str | None]):
    assert played(name, seed, answers) == played(name, seed, answers)


@given(NAMES, st.integers(0, 999), ANSWERS)
def test_only_a_conversation_has_a_history_and_it_holds_all_that_was_said(
    name: str, seed: int, answers: list[str | None]
):
    before: tuple[tuple[str, str], ...] | None = ()
    for (user, request), answer in zip(played(name, seed, answers), answers, strict=True):
        assert request.said == user.said
        if WORKLOADS[name].turns is None or not user.said:
            assert request.said == ()
        else:
            assert request.said == before
        said = (*request.said, ("user", request.prompt), ("assistant", answer or ""))
        before = None if answer is None else said


@given(NAMES, st.integers(0, 999), st.integers(0, 9))
def test_a_prompt_begins_with_a_nonce_unless_it_goes_on(name: str, seed: int, number: int):
    for user, request in played(name, seed, ["x"] * 3, number):
        begins = request.prompt.removeprefix("# ").startswith(f"nonce-{number}-{user.requests}")
        assert begins is (not user.said)
        assert request.max_tokens >= 1


def test_requests_have_about_the_length_that_was_drawn():
    for name in ("rag", "batch"):
        ((_, request),) = played(name, 5, ["x"])
        drawn = WORKLOADS[name].kinds[0].prompt.at(Draws(5).unit(name, 0, 0, "prompt"))
        assert len(request.prompt.split()) / 0.75 == pytest.approx(drawn, rel=0.1)


def test_a_soak_goes_on_for_64_turns_and_then_begins_anew():
    lengths = [len(user.said) // 2 for user, _ in played("soak", 1, ["an answer"] * 66)]
    assert lengths == [*range(64), 0, 1]


def test_conversations_have_two_turns_on_average():
    begun = sum(not user.said for number in range(50) for user, _ in played("chat", 1, ["x"] * 10, number))
    assert 1.5 < 500 / begun < 3.0


def test_kinds_come_by_their_weights():
    kinds = [
        request.kind.name for number in range(70) for _, request in played("seed", 1, ["x"] * 10, number)
    ]
    assert {name: round(kinds.count(name) / 100) for name in set(kinds)} == {
        "short": 3,
        "medium": 2,
        "long": 1,
        "models": 1,
    }
