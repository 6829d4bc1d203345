from __future__ import annotations

import pytest
from pydantic import ValidationError

from aiidpd.components.backup.settings import BackupSettings


def test_by_default_a_backup_begins_on_sunday_about_three_and_a_year_is_kept():
    settings = BackupSettings()
    assert (settings.schedule, settings.jitter) == ("Sun 03:00", 600)
    kept = settings.retention
    assert (kept.keep_last, kept.keep_daily, kept.keep_weekly, kept.keep_monthly) == (3, 7, 4, 12)
    assert (kept.max_size, kept.pins) == (0, ())


@pytest.mark.parametrize(("written", "size"), [("", 0), ("0B", 0), ("4TiB", 4 * 2**40)])
def test_a_size_without_a_bound_is_empty_or_nothing(written: str, size: int):
    settings = BackupSettings.model_validate({"retention": {"max_size": written}})
    assert settings.retention.max_size == size


@pytest.mark.parametrize(
    "wrong",
    [
        {"retention": {"keep_last": -1}},
        {"retention": {"keep_daily": True}},
        {"retention": {"keep_weekly": "4"}},
        {"retention": {"max_size": 100}},
        {"retention": {"keep_hourly": 1}},
        {"jitter": "2d"},
        {"jitter": 600},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        BackupSettings.model_validate(wrong)
