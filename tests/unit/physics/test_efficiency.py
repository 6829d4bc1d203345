"""Time of a step as engines reach it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.efficiency import GENERAL, REFERENCE_BYTES, Efficiency, Measured, calibrated
from tests.unit.physics.shapes import BANDWIDTHS, efficiencies

READ = st.floats(1e7, 1e12)


@given(efficiencies(), BANDWIDTHS)
def test_no_more_than_the_peak_is_reached(of: Efficiency, peak: float) -> None:
    assert 0 < of.bandwidth(peak) <= peak


@given(efficiencies(), READ, BANDWIDTHS, st.none() | st.integers(1, 200))
def test_more_bandwidth_is_never_slower_and_more_bytes_never_faster(
    of: Efficiency, read: float, peak: float, blocks: int | None
) -> None:
    found = of.seconds(read, peak, blocks)
    assert found >= read / peak
    assert of.seconds(read, 2 * peak, blocks) <= found
    assert of.seconds(2 * read, peak, blocks) >= found


def test_overhead_is_by_blocks_where_they_are_known() -> None:
    of = Efficiency(share=1.0, overhead_seconds=0.002)
    assert of.overhead(1e9, 64) == pytest.approx(0.004)
    assert of.overhead(REFERENCE_BYTES) == pytest.approx(0.002)


@given(efficiencies(), READ, BANDWIDTHS, st.floats(0.01, 1.0))
def test_calibrated_with_a_model_it_finds_the_speed_of_that_model(
    of: Efficiency, read: float, peak: float, part: float
) -> None:
    ceiling = peak / read
    found = calibrated(of, [Measured(read, part * ceiling)], peak)
    again = 1 / found.seconds(read, peak)
    assert again <= ceiling * (1 + 1e-9)
    if read / (part * peak) > 3 * of.overhead(read) and part < 0.6:
        assert again == pytest.approx(part * ceiling, rel=0.01)


def test_calibrated_with_nothing_it_stays() -> None:
    assert calibrated(GENERAL, [], 1e12) is GENERAL


def test_a_speed_that_no_memory_allows_calibrates_nothing() -> None:
    with pytest.raises(ValueError, match="more than the memory gives"):
        calibrated(GENERAL, [Measured(10e9, 101.0)], 1e12)


@pytest.mark.parametrize(("share", "overhead"), [(0.0, 0.0), (1.01, 0.0), (0.5, -0.1)])
def test_constants_that_would_pass_the_ceiling(share: float, overhead: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Efficiency(share, overhead)
