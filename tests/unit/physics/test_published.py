"""Predicted speeds against published ones: the gates that ``python -m bench.physics`` prints."""

from __future__ import annotations

import pytest

from bench.physics import (
    CHECK,
    FITTED,
    Row,
    errors_alone,
    errors_calibrated,
    errors_left_out,
    errors_named,
    exceeded,
    fitted,
    hardware,
    main,
    quantile,
    rows,
)

KNOWN = hardware()
PUBLISHED = rows(FITTED)
OTHERS = rows(CHECK)


def test_no_published_result_passes_the_ceiling() -> None:
    assert len(PUBLISHED) == 31
    assert exceeded([*PUBLISHED, *OTHERS]) == 0


def test_by_weights_and_bandwidth_alone() -> None:
    errors = errors_alone(PUBLISHED)
    assert quantile(errors, 0.5) <= 0.10
    assert quantile(errors, 0.9) <= 0.45


def test_with_the_name_of_the_device() -> None:
    assert quantile(errors_named(PUBLISHED, KNOWN), 0.9) <= 0.30


def test_calibrated_with_another_model_of_the_same_device() -> None:
    errors = errors_calibrated(PUBLISHED, KNOWN)
    assert quantile(errors, 0.5) <= 0.05
    assert quantile(errors, 0.9) <= 0.15


def test_rows_that_nothing_was_fitted_on_are_within_the_gates_too() -> None:
    unseen = [row for row in OTHERS if KNOWN.find(row.gpu, row.bandwidth).family != "apple-m1"]
    assert quantile(errors_alone(unseen), 0.5) <= 0.10
    assert quantile(errors_alone(unseen), 0.9) <= 0.45
    assert quantile(errors_named(unseen, KNOWN), 0.9) <= 0.30


def test_a_fit_finds_the_constants_that_made_its_rows() -> None:
    def made(read: float, bandwidth: float) -> Row:
        return Row("x", bandwidth, read, 1 / (read / (0.9 * bandwidth) + 0.002 * (read / 4.9e9) ** (1 / 6)))

    found = fitted([made(read, bandwidth) for read in (2e9, 5e9, 16e9) for bandwidth in (300e9, 900e9)])
    assert (found.share, found.overhead_seconds) == (0.9, 0.002)


@pytest.mark.long
def test_a_device_left_out_of_the_fit_is_predicted_as_well() -> None:
    errors = errors_left_out(PUBLISHED, KNOWN)
    assert quantile(errors, 0.5) <= 0.10
    assert quantile(errors, 0.9) <= 0.45


@pytest.mark.long
def test_the_bench_says_that_every_gate_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert "ceiling exceeded in 0" in capsys.readouterr().out
