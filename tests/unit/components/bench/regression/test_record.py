"""Tracks: which baseline a probe belongs to, and what outlives the daemon."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.regression.circumstances import Circumstances
from aiidpd.components.bench.regression.record import (
    LIMIT,
    MOST_TRACKS,
    BenchRecords,
    Track,
    probed,
    track_for,
    with_new_baseline,
)
from aiidpd.components.bench.regression.state import MOST_RECENT
from aiidpd.platform.codec import compose, decoder, parse
from aiidpd.platform.statefile import StateFile
from bench.regression import INTERVAL
from tests.unit.components.bench.regression.series import shifted, timed


def track_of(values: list[float], track: Track | None = None, start: float = 0.0, **known: str) -> Track:
    """Return a track after probes with these speeds, all under the circumstances ``known``."""
    track = track or Track("local", "m", "H100")
    for at, value in timed(values, start):
        track = probed(track, at, {"output_tokens_per_second": value, "ttft_seconds": 4 / value}, known)
    return track


def test_another_gpu_or_model_is_another_track_and_comes_back_to_its_own():
    old = track_of([80.0] * 3, image="v1")
    records = BenchRecords().put(old)
    assert track_for(records, "local", "m", "H100") == old
    assert track_for(records, "local", "m2", "H100") == Track("local", "m2", "H100")
    new = probed(track_for(records, "local", "m", "B200"), 1e6, {"output_tokens_per_second": 160.0}, {})
    assert new.gpu == "B200"
    records = records.put(new)
    assert records.track("local", "m") == new
    assert track_for(records, "local", "m", "H100") == old


def test_a_gpu_that_is_not_known_now_is_the_last_one():
    old = track_of([80.0] * 3)
    assert track_for(BenchRecords().put(old), "local", "m", "") == old


def test_a_track_whose_gpu_was_never_known_gets_it_later():
    records = BenchRecords().put(Track("local", "m", "", 1.0))
    assert track_for(records, "local", "m", "H100") == Track("local", "m", "H100", 1.0)


def test_a_new_version_of_the_engine_is_compared_with_the_old_ones_baseline():
    track = track_of(shifted("iid", 1, 1.0, before=200, after=0), image="vllm:1", driver="570")
    track = track_of(
        shifted("iid", 1, 0.9, before=0, after=8), track, 200 * INTERVAL, image="vllm:2", driver="570"
    )
    state = track.figures["output_tokens_per_second"]
    assert state.status == "regressed"
    assert track.figures["ttft_seconds"].status == "regressed"
    (change,) = track.changed["output_tokens_per_second"]
    assert (change.name, change.before, change.after) == ("image", "vllm:1", "vllm:2")
    again = with_new_baseline(track, frozenset({"ttft_seconds"}))
    assert again.figures["ttft_seconds"].status == "learning"
    assert again.figures["output_tokens_per_second"] == state
    assert set(again.changed) == {"output_tokens_per_second"}


def test_circumstances_are_those_of_the_newest_probe_however_many_came_before():
    track = track_of([80.0] * (2 * MOST_RECENT), image="v1")
    assert len(track.moments) == MOST_RECENT
    assert track.start == {"image": "v1"}
    assert track_of([80.0], track, 1e6, image="v2").circumstances == {"image": "v2"}


def test_a_figure_that_is_not_watched_is_passed_over():
    track = probed(Track("a", "m"), 1.0, {"strange": 1.0}, {})
    assert all(not state.recent for state in track.figures.values())


def test_the_number_of_tracks_is_bounded_and_the_oldest_go():
    records = BenchRecords()
    for number in range(3 * MOST_TRACKS):
        records = records.put(Track(f"e{number}", "m", seen_at=float(number)))
    assert len(records.tracks) == MOST_TRACKS
    assert {each.endpoint for each in records.tracks} == {
        f"e{number}" for number in range(2 * MOST_TRACKS, 3 * MOST_TRACKS)
    }


def test_all_of_it_outlives_the_daemon(tmp_path: Path):
    track = track_of(shifted("iid", 1, 1.0, before=200, after=0), image="vllm:1")
    track = track_of(shifted("iid", 1, 0.9, before=0, after=8), track, 200 * INTERVAL, image="vllm:2")
    file = StateFile(tmp_path / "baselines.json", BenchRecords, limit=LIMIT)
    file.save(BenchRecords().put(track))
    assert file.load() == BenchRecords().put(track)


def test_as_many_tracks_as_there_may_be_fit_the_file():
    values = shifted("iid", 1, 1.0, before=1343, after=0)
    known = {f"circumstance {number}": f"{'x' * 40} {number}" for number in range(40)}
    track = track_of(values, **known)
    records = BenchRecords(
        tracks=tuple(
            Track(f"e{number}", "m", "g", 1.0, track.figures, track.start, track.moments)
            for number in range(MOST_TRACKS)
        )
    )
    assert StateFile(Path("/nonexistent"), BenchRecords, limit=LIMIT).fits(records)


@given(
    st.lists(
        st.tuples(
            st.floats(),
            st.dictionaries(st.text(max_size=4), st.one_of(st.text(max_size=9), st.floats(), st.booleans())),
        ),
        max_size=30,
    )
)
def test_whatever_a_probe_brings_can_be_stored_and_read_again(probes: list[tuple[float, Circumstances]]):
    track = Track("a", "m")
    for at, (value, known) in enumerate(probes):
        track = probed(track, float(at), {"output_tokens_per_second": value}, known)
    records = BenchRecords().put(track)
    assert decoder(BenchRecords)(parse(compose(records))) == records
