from __future__ import annotations

import csv
import io
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.cli import history

figures = st.one_of(st.none(), st.floats(0, 1e12))
rows = st.fixed_dictionaries(
    {
        "time": st.floats(0, 4e9),
        "seconds": st.sampled_from([0.0, 60.0]),
        "temperature_celsius": figures,
        "power_watts": figures,
        "utilisation_ratio": figures,
        "memory_used_bytes": figures,
        "memory_total_bytes": figures,
        "fan_ratio": figures,
        "throttle_reason": st.one_of(st.none(), st.text(max_size=20)),
    }
)


@given(st.lists(rows, max_size=5))
def test_any_reader_of_csv_gets_back_what_was_written(given_: list[dict[str, object]]) -> None:
    text = history.head() + "".join(map(history.line, given_))
    assert text.endswith("\r\n")
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(read) == len(given_)
    for line, row in zip(read, given_, strict=True):
        at = datetime.fromisoformat(line["timestamp"])
        assert at.utcoffset() is not None
        assert at.timestamp() == pytest.approx(row["time"], abs=0.0006)
        assert (line["temp_c"] == "") == (row["temperature_celsius"] is None)
        if row["power_watts"] is not None:
            assert float(line["power_w"]) == pytest.approx(row["power_watts"], abs=0.006)
        assert line["throttle_reason"] == {None: "", "": "none"}.get(
            row["throttle_reason"], row["throttle_reason"]
        )  # type: ignore[call-overload]


def test_the_columns_are_those_that_the_scripts_before_had() -> None:
    assert history.head() == (
        "timestamp,temp_c,power_w,util_pct,mem_used_mb,mem_total_mb,fan_pct,throttle_reason\r\n"
    )
    row = {
        "time": 1_800_000_000.5,
        "temperature_celsius": 61.0,
        "power_watts": 180.5,
        "utilisation_ratio": 0.875,
        "memory_used_bytes": 11 * 2.0**30,
        "memory_total_bytes": 16 * 2.0**30,
        "fan_ratio": 0.0,
        "throttle_reason": "sw_power_cap|hw_slowdown",
    }
    assert history.line(row) == (
        "2027-01-15T08:00:00.500Z,61,180.5,87.5,11264,16384,0,sw_power_cap|hw_slowdown\r\n"
    )
