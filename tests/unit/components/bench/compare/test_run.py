"""Jobs that compare two endpoints, on a clock that only the test moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiidpd.components.bench.compare.requests import MOST_WAITING
from aiidpd.contracts.engines import Residency
from aiidpd.kernel.jobs import JobState
from tests.fakes.clock import FakeClock
from tests.unit.components.bench.compare.sides import SETTINGS, Bench, Side


def outcomes(found: object) -> dict[str, str]:
    return {each.figure: each.outcome for each in found.figures}  # type: ignore[attr-defined]


async def test_a_faster_side_is_found_and_the_result_can_be_read_again(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b", pace=0.019)])
    job = bench.job()
    found = await bench.compare(job)
    assert found is not None
    assert job.status.state is JobState.SUCCEEDED
    assert found.ended == "clear"
    assert set(outcomes(found).values()) == {"faster"}
    assert found.figures[0].text.startswith("B is ")
    assert "% faster (" in found.figures[0].text
    assert len(found.pairs) < 20
    assert found.answers.share == 1
    assert found == bench.store.load(found.id)
    (event,) = bench.events
    assert event.kind == "bench.compared"
    assert event.evidence["comparison"] == found.id
    assert not bench.running


async def test_the_sides_are_asked_the_same_in_turn_and_the_order_changes(clock: FakeClock, tmp_path: Path):
    sides = [Side(clock, "a"), Side(clock, "b", pace=0.03)]
    bench = Bench(clock, tmp_path, sides)
    found = await bench.compare(bench.job(pairs=8))
    assert found is not None
    asked = [[each for each in side.asked if each.seed is not None] for side in sides]
    assert asked[0] == asked[1]
    assert [each.max_tokens for each in asked[0]] == 4 * [1, 32, 32]
    measured = [[each.prompt for each in side.asked[13:]] for side in sides]
    assert measured[0] == measured[1]
    assert len(set(measured[0])) == len(measured[0]) == len(found.pairs)
    assert {each.a_first for each in found.pairs} == {True, False}


async def test_equal_sides_are_not_called_different(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b")])
    found = await bench.compare(bench.job())
    assert found is not None
    assert set(outcomes(found).values()) <= {"alike", "open"}
    assert len(found.pairs) == 20


async def test_one_server_gets_prompts_of_its_own_and_is_like_itself(clock: FakeClock, tmp_path: Path):
    side = Side(clock, "a")
    found = await Bench(clock, tmp_path, [side]).compare(Bench(clock, tmp_path, [side]).job(pairs=4))
    assert found is not None
    assert (found.a, found.ended) == (found.b, "pairs" if found.ended == "pairs" else "clear")
    measured = [each.prompt for each in side.asked[26:]]
    assert len(set(measured)) == len(measured) == 2 * len(found.pairs)


async def test_a_prefix_cache_behind_two_addresses_is_noticed(clock: FakeClock, tmp_path: Path):
    known: set[str] = set()

    def cached(request: object) -> int:
        prompt = request.prompt  # type: ignore[attr-defined]
        found = prompt in known
        known.add(prompt)
        return 90 if found else 0

    sides = [Side(clock, "a", cached=cached), Side(clock, "b", pace=0.03, cached=cached)]
    found = await Bench(clock, tmp_path, sides).compare(Bench(clock, tmp_path, sides).job())
    assert found is not None
    assert outcomes(found)["ttft_seconds"] == "slower"
    assert any("prefix cache" in each for each in found.notes)


async def test_other_answers_are_shown_with_their_place(clock: FakeClock, tmp_path: Path):
    sides = [Side(clock, "a"), Side(clock, "b", says=lambda request: "x" * (request.max_tokens - 1) + "y")]
    found = await Bench(clock, tmp_path, sides).compare(Bench(clock, tmp_path, sides).job(pairs=4))
    assert found is not None
    assert found.answers.share == 0
    assert (found.answers.prompts[0].character, found.answers.prompts[0].token) == (31, 31)


async def test_answers_of_other_length_have_no_whole_time(clock: FakeClock, tmp_path: Path):
    sides = [
        Side(clock, "a"),
        Side(clock, "b", pace=0.03, says=lambda request: "x" * max(1, request.max_tokens - 9)),
    ]
    found = await Bench(clock, tmp_path, sides).compare(Bench(clock, tmp_path, sides).job())
    assert found is not None
    assert outcomes(found) == {
        "ttft_seconds": "slower",
        "time_per_output_token_seconds": "slower",
        "total_seconds": "open",
    }
    assert "the answers differ in length" in found.pairs[0].reason


async def test_it_waits_for_users_drops_what_they_disturbed_and_goes_on(clock: FakeClock, tmp_path: Path):
    sides = [Side(clock, "a"), Side(clock, "b", pace=0.03)]
    bench = Bench(clock, tmp_path, sides)
    bench.engine("a")
    bench.engine("b", requests_running=2)
    asked: list[int] = []

    def users() -> None:
        asked.append(len(sides[1].asked) + len(sides[0].asked))
        now = clock.monotonic()
        bench.engine("b", requests_running=2 if now < 20 or 30 < now < 40 else 0)
        bench.engine("a", requests_running=1 if sides[0].name in bench.running else 0)

    found = await bench.compare(bench.job(), meanwhile=users)
    assert found is not None
    assert asked[100] == 0  # users are served for the first 20 seconds
    assert found.ended == "clear"
    assert not found.notes


async def test_users_who_stay_end_it(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b")])
    bench.engine("a", requests_waiting=1)
    found = await bench.compare(bench.job())
    assert found is not None
    assert (found.ended, found.pairs) == ("busy", ())
    assert f"{MOST_WAITING:.0f} s" in found.reason
    assert not bench.sides[0].asked


@pytest.mark.parametrize("residency", [Residency.SLEEPING, Residency.UNLOADED, Residency.LOADING])
async def test_a_model_that_is_not_there_is_not_loaded(
    clock: FakeClock, tmp_path: Path, residency: Residency
):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b")])
    bench.engine("b", residency=residency)
    job = bench.job()
    found = await bench.compare(job)
    assert found is not None
    assert found.ended == "absent"
    assert job.status.state is JobState.FAILED
    assert "a comparison loads none" in job.status.error
    assert not bench.sides[1].asked
    woken = await bench.compare(bench.job(pairs=4), settings=SETTINGS.model_copy(update={"wake": True}))
    assert woken is not None
    assert len(woken.pairs) == 4


async def test_without_figures_it_goes_ahead_and_says_so(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b")])
    found = await bench.compare(bench.job(pairs=4))
    assert found is not None
    assert len(found.notes) == 2
    assert found.notes[0].startswith("a: its engine reports no figures")


async def test_a_cancelled_one_ends_with_what_it_has(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b")])
    assert not bench.control.cancel()
    job = bench.job()

    def cancel() -> None:
        if job.status.unit == "pairs" and job.status.done >= 3:
            bench.control.cancel()

    found = await bench.compare(job, meanwhile=cancel)
    assert found is not None
    assert (found.ended, len(found.pairs)) == ("cancelled", 3)
    assert job.status.state is JobState.FAILED
    assert found.figures[0].text == "not clear after 3 pairs: too few"
    assert not bench.running


async def test_its_time_is_bounded(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b")])
    found = await bench.compare(bench.job(minutes=0.3))
    assert found is not None
    assert found.ended == "budget"
    assert found.ended_at - found.began_at < 40


async def test_three_failures_in_a_row_end_it(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b", fails="connection refused")])
    job = bench.job()
    found = await bench.compare(job)
    assert found is not None
    assert found.ended == "failed"
    assert "3 pairs in a row failed" in job.status.error
    assert "connection refused" in found.answers.text


async def test_an_unknown_endpoint_is_named(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a")])
    job = bench.job(compare_b="c")
    assert await bench.compare(job) is None
    assert "known are: a" in job.status.error


async def test_a_disk_that_takes_nothing_fails_the_job(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a"), Side(clock, "b")])
    (tmp_path / "comparisons").write_text("no folder")
    job = bench.job(pairs=4)
    assert await bench.compare(job) is None
    assert "store comparison" in job.status.error


async def test_a_short_answer_is_made_longer_before_the_pairs(clock: FakeClock, tmp_path: Path):
    bench = Bench(clock, tmp_path, [Side(clock, "a", pace=0.001), Side(clock, "b", pace=0.0012)])
    found = await bench.compare(bench.job())
    assert found is not None
    assert found.max_tokens > SETTINGS.max_tokens
    assert set(outcomes(found).values()) == {"slower"}
