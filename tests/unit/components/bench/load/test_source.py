"""Closed and open loops, driven by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.source import Load, LoadSource, Progress, level_words
from aiidpd.components.bench.load.workloads import WORKLOADS
from aiidpd.engines.faults import Fault
from aiidpd.engines.stream import Streamed, StreamRequest
from aiidpd.engines.target import Chunk, Timeline
from aiidpd.engines.traffic import Planned, Served

TICK = 0.01


def loaded(**more: object) -> LoadSource:
    given_ = {"workload": WORKLOADS["batch"], "seconds": 20.0, "warm_up": 0.0, "timeout": 10.0, **more}
    load = Load(**given_)  # type: ignore[arg-type]
    return LoadSource(load, Draws(3), "n", lambda _: StreamRequest(b"x", 8), 100.0)


def outcome(plan: Planned, ended: float, *, fault: Fault | None = None) -> Served:
    if fault is not None:
        return Served(plan.key, plan.at, 0.0, Streamed(1, None, fault, "why"), ended)
    chunks = tuple(Chunk(plan.at + (ended - plan.at) * part / 8, 4, 1) for part in range(1, 9))
    timeline = Timeline(plan.at, ended, chunks, "length", 100, 8)
    return Served(plan.key, plan.at, 0.0, Streamed(1, timeline), ended)


def drive(
    source: LoadSource, serve: float | None, *, slots: int = 10_000, fault: Fault | None = None
) -> tuple[list[float], int]:
    """Serve each request in ``serve`` seconds, ``slots`` at once; return plans and most at once."""
    plans, waiting, going = [], [], []
    most, now = 0, source.begin
    while not source.over(now) and not source.stopped(now):
        while (plan := source.due(now)) is not None:
            plans.append(plan.at)
            waiting.append(plan)
        while waiting and len(going) < slots:
            going.append((now + (serve or 0), waiting.pop(0)))
        most = max(most, len(waiting) + len(going))
        for end, plan in [each for each in going if serve is not None and each[0] <= now]:
            going.remove((end, plan))
            source.served(outcome(plan, max(end, plan.at), fault=fault))
        now += TICK
    return plans, most


@given(st.integers(1, 20), st.floats(0.05, 3))
def test_a_closed_loop_has_as_many_under_way_as_users(users: int, serve: float):
    source = loaded(users=users)
    plans, most = drive(source, serve)
    assert most == users
    assert len(plans) >= users * int(19 / (serve + 2 * TICK))
    assert source.served_users == set(range(users))


def test_an_open_loop_arrives_by_its_rate_whatever_comes_back():
    served, _ = drive(loaded(rate=10.0), 0.2)
    stalled, most = drive(loaded(rate=10.0, until_saturated=False), None)
    assert stalled == served  # no arrival was held back
    assert most == len(stalled)
    assert 140 < len(served) < 270


def test_times_between_arrivals_are_of_chance():
    plans, _ = drive(loaded(rate=50.0), 0.1)
    apart = sorted(later - earlier for earlier, later in pairwise(plans))
    assert apart[len(apart) // 2] == pytest.approx(0.02 * 0.693, rel=0.2)  # the median of an exponential


def test_a_queue_without_bound_ends_an_open_loop():
    source = loaded(rate=20.0)
    drive(source, 0.5, slots=5)  # that serves 10 a second
    assert "requests in the system rose from" in source.saturated
    assert source.over(100.1)


def test_as_many_as_may_be_ends_it_too():
    source = loaded(rate=50.0, most=30)
    drive(source, None)
    assert source.saturated == "30 requests were in the system at once, as many as may be"


def test_a_load_that_is_served_is_not_too_much():
    source = loaded(rate=20.0)
    drive(source, 0.3, slots=12)
    assert source.saturated == ""
    assert len(source.in_system) == 240


def test_where_every_request_fails_it_ends_soon():
    source = loaded(users=2)
    plans, _ = drive(source, 0.0, fault=Fault.UNREACHABLE)
    assert len(plans) == 20
    assert source.hopeless == "every request fails (unreachable): why"
    # A user whose request was refused does not come back at once.
    assert plans[-1] - plans[0] >= 9 * 0.5


def test_a_wait_follows_each_answer():
    source = loaded(workload=WORKLOADS["seed"], users=1, seconds=60.0)
    plans, _ = drive(source, 1.0)
    apart = [later - earlier - 1 for earlier, later in pairwise(plans)]
    assert len(apart) > 8
    assert all(1 - 3 * TICK <= each <= 5 + 3 * TICK for each in apart)


def test_an_interruption_ends_it():
    source = loaded()
    source.interrupted = lambda: True
    assert source.stopped(100.0)
    assert source.was_interrupted
    assert source.due(100.0) is None


def test_what_was_cut_off_is_no_failure():
    source = loaded(users=1)
    plan = source.due(100.0)
    assert plan is not None
    source.served(Served(plan.key, plan.at, 0.0, Streamed(1), 101.0, cut=True))
    assert [(each.cut, each.fault) for each in source.records] == [(True, "")]


def test_no_reason_shows_the_key():
    source = loaded(users=1)
    source.key = "secret"
    plan = source.due(100.0)
    assert plan is not None
    refused = Streamed(1, None, Fault.REFUSED, "no secret here")
    source.served(Served(plan.key, plan.at, 0.0, refused, 101.0))
    assert source.records[0].reason == "no [API key] here"


def test_a_conversation_goes_on_with_what_was_answered():
    said = []

    def encode(request: object) -> StreamRequest:
        said.append(request.said)  # type: ignore[attr-defined]
        return StreamRequest(b"x", 8)

    source = loaded(workload=WORKLOADS["soak"], users=1)
    source.encode = encode
    drive(source, 0.5)
    assert [len(each) // 2 for each in said] == list(range(len(said)))


def test_progress_is_reported_now_and_then():
    source = loaded(users=3)
    seen: list[Progress] = []
    source.report = seen.append
    drive(source, 0.2)
    assert 30 < len(seen) < 50
    assert seen[-1].answered > seen[1].answered


def test_levels_have_words():
    assert [level_words(loaded(**each).load) for each in ({"users": 1}, {"users": 8}, {"rate": 2.5})] == [
        "1 user",
        "8 users",
        "2.5 requests/s",
    ]
