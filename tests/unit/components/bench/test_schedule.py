"""When which endpoint is probed."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.schedule import (
    STAGGER,
    Probe,
    Schedule,
    Wait,
    after_probe,
    begin,
    max_age,
    request,
    step,
    worker_deadline,
)
from aiidpd.components.bench.settings import BenchSettings
from tests.tables import made

SETTINGS = made(BenchSettings, interval=100.0)


def probes(schedule: Schedule, now: float, until: float, takes: float) -> list[tuple[float, str]]:
    """Follow the schedule with probes that each take ``takes`` seconds."""
    done = []
    while now < until:
        schedule, effect = step(schedule, now, SETTINGS)
        if isinstance(effect, Probe):
            done.append((now, effect.name))
            now += takes
        else:
            now += effect.seconds
    return done


def test_the_first_round_starts_at_once_and_is_staggered():
    done = probes(begin("abc", {}, 50.0, SETTINGS), 50.0, 140.0, takes=0.5)
    assert done == [(50.0, "a"), (51.0, "b"), (52.0, "c")]


def test_each_comes_again_after_an_interval():
    done = probes(begin("ab", {}, 0.0, SETTINGS), 0.0, 205.0, takes=0.5)
    assert done == [(0.0, "a"), (1.0, "b"), (100.0, "a"), (101.0, "b"), (200.0, "a"), (201.0, "b")]


def test_nothing_to_probe_is_nothing_to_do():
    assert step(begin("", {}, 0.0, SETTINGS), 0.0, SETTINGS)[1] == Wait(100.0)


def test_a_probe_on_request_moves_the_next_turn():
    schedule = after_probe(begin("a", {}, 0.0, SETTINGS), "a", 0.0, SETTINGS)
    assert step(schedule, 1.0, SETTINGS)[1] == Wait(99.0)


def test_a_worker_that_starts_again_does_not_probe_again_before_the_turn():
    schedule = begin("ab", {"a": 40.0}, 60.0, SETTINGS)
    assert probes(schedule, 60.0, 150.0, takes=0.5) == [(61.0, "b"), (140.0, "a")]


def test_a_turn_that_passed_while_nobody_worked_comes_at_once():
    assert probes(begin("a", {"a": 0.0}, 500.0, SETTINGS), 500.0, 501.0, takes=0.5) == [(500.0, "a")]


@given(st.integers(1, 6), st.floats(0.1, 90.0))
def test_no_endpoint_starves_and_none_comes_early(count: int, takes: float):
    names = [f"endpoint{index}" for index in range(count)]
    done = probes(begin(names, {}, 0.0, SETTINGS), 0.0, 2000.0, takes)
    at = {name: [moment for moment, each in done if each == name] for name in names}
    for moments in at.values():
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert moments[0] <= STAGGER * count + takes * count
        assert all(gap >= SETTINGS.interval - 1e-6 for gap in gaps)
        assert all(gap <= SETTINGS.interval + count * (takes + STAGGER) + 1e-6 for gap in gaps)


def test_the_nonce_comes_first_and_changes_the_prompt_from_there():
    one, other = request(SETTINGS, "nonce-1").prompt, request(SETTINGS, "nonce-2").prompt
    assert one.startswith("nonce-1 ")
    assert one.removeprefix("nonce-1") == other.removeprefix("nonce-2")


def test_the_prompt_is_about_as_long_as_asked():
    for tokens in (64, 256, 2000):
        words = len(request(SETTINGS, "n", tokens).prompt.split())
        assert abs(words - tokens * 0.75) <= 2


def test_a_worker_is_given_longer_than_its_probe_and_a_view_longer_than_a_round():
    settings = made(BenchSettings, interval=30.0, timeout=60.0)
    assert worker_deadline(settings) > settings.timeout
    assert max_age(settings) >= 2 * settings.interval + settings.timeout
