"""The table of figures is whole, and what is derived from it is what scripts and files rely on."""

from __future__ import annotations

from dataclasses import fields

from aiidpd.api.document import field_names
from aiidpd.components.thermal.api.history import GpuHistoryRow
from aiidpd.components.thermal.cli import history as csv
from aiidpd.components.thermal.evidence import COLUMNS
from aiidpd.components.thermal.figures import (
    BOUNDS,
    FAMILIES,
    FIGURES,
    FLAGS,
    RECORDED,
    ROLLED_UP,
    SAMPLED,
    SAMPLED_ON_CHANGE,
    THROTTLE_REASONS,
    Kind,
)
from aiidpd.components.thermal.gpu import CLOCK_EVENTS, GpuReading

LABELS = {"index", "uuid"}
CODED = {"clock_event_bits"}  # the same as clock_events, which has a metric


def test_every_field_of_a_reading_has_exactly_one_row() -> None:
    assert sorted(figure.field for figure in FIGURES) == sorted(field.name for field in fields(GpuReading))


def test_every_number_has_bounds_and_every_flag_is_one() -> None:
    types = {field.name: field.type for field in fields(GpuReading)}
    assert set(BOUNDS) == {name for name, kind in types.items() if kind == "float | None"}
    assert set(FLAGS) == {name for name, kind in types.items() if kind == "bool | None"}


def test_every_field_has_a_metric_and_none_is_shown_twice() -> None:
    without = {figure.field for figure in FIGURES if not figure.metrics}
    assert without == LABELS | CODED
    shown = [metric.value for rows in FAMILIES.values() for metric in rows if metric.value]
    assert len(shown) == len(set(shown))


def test_the_rows_of_one_metric_agree_on_all_but_their_labels_values() -> None:
    for rows in FAMILIES.values():
        assert len({(metric.help, metric.kind, metric.labels) for metric in rows}) == 1
        assert len({metric.label_values for metric in rows}) == len(rows)
        for metric in rows:
            assert not metric.value or len(metric.label_values) == len(metric.labels) - 2


def test_a_counter_differs_from_a_gauge_in_that_it_grows() -> None:
    counters = {name for name, (metric, *_) in FAMILIES.items() if metric.kind is Kind.COUNTER}
    assert counters == {
        "card_energy_joules",
        "pcie_replays",
        "ecc_corrected_errors",
        "ecc_uncorrected_errors",
        "throttled_seconds",
        "xid_events",
    }


def test_the_columns_of_an_incident_and_the_series_are_those_that_were_always_written() -> None:
    assert RECORDED == (
        "temperature_celsius",
        "memory_temperature_celsius",
        "hotspot_temperature_celsius",
        "temperature_margin_celsius",
        "power_watts",
        "power_instant_watts",
        "power_limit_watts",
        "fan_ratio",
        "utilisation_ratio",
        "memory_controller_utilisation_ratio",
        "memory_used_bytes",
        "graphics_clock_hertz",
        "memory_clock_hertz",
    )
    assert [*RECORDED, "clock_events"] == [column.name for column in COLUMNS]
    assert {*SAMPLED, *SAMPLED_ON_CHANGE} == {
        *ROLLED_UP,
        "graphics_clock_hertz",
        "memory_total_bytes",
        *CODED,
    }


def test_a_row_of_the_history_has_the_figures_of_the_minutes() -> None:
    assert ROLLED_UP == (
        "temperature_celsius",
        "power_watts",
        "utilisation_ratio",
        "memory_used_bytes",
        "fan_ratio",
    )
    known = {*ROLLED_UP, "memory_total_bytes"}
    assert {field.name for field in fields(GpuHistoryRow)} == known | {"time", "seconds", "throttle_reason"}
    row = dict.fromkeys(known, 1.0) | {"time": 0.0, "throttle_reason": ""}
    assert len(csv.line(row).split(",")) == len(csv.COLUMNS) == len(known) + 2


def test_every_throttle_reason_is_a_clock_event_of_nvml() -> None:
    assert set(THROTTLE_REASONS.values()) <= set(CLOCK_EVENTS.values())
    assert set(THROTTLE_REASONS) == {name for name in BOUNDS if name.endswith("_throttle_seconds")}


def test_the_api_shows_every_field_under_its_own_name() -> None:
    assert set(field_names(GpuReading)) == {figure.field for figure in FIGURES}
