from __future__ import annotations

import grp
import os
from pathlib import Path
from typing import Any

import pytest

from aiidpd.contracts.checks import CheckResult, Outcome, Surroundings
from aiidpd.daemon.checks.folders import checks
from aiidpd.daemon.groups import metrics_group
from aiidpd.daemon.schema import SCHEMA
from aiidpd.daemon.settings import METRICS_GROUP

ME = Surroundings(os.geteuid(), frozenset(os.getgroups()), "me")
OWN = grp.getgrgid(os.getegid()).gr_name


def found(tmp_path: Path, around: Surroundings = ME, **tables: Any) -> dict[str, list[CheckResult]]:
    daemon = {"state_directory": str(tmp_path / "state"), "runtime_directory": str(tmp_path / "run")}
    settings = SCHEMA.settings.model_validate({"daemon": daemon, "control": {"group": ""}, **tables})
    answers: dict[str, list[CheckResult]] = {}
    for check in checks(settings, around):
        try:
            answers[check.name] = list(check.run())
        except Exception as error:  # noqa: BLE001 -- the doctor makes a line of it
            answers[check.name] = [CheckResult(Outcome.FAILED, str(error), "x")]
    return answers


def test_nothing_is_there(tmp_path: Path):
    answers = found(tmp_path)
    assert [each.outcome for each in answers["daemon"]] == [Outcome.WARNING]
    assert [each.outcome for each in answers["state"]] == [Outcome.WARNING]
    assert [each.outcome for each in answers["start"]] == [Outcome.FAILED] * 2
    assert all(each.cure for each in answers["start"])


def test_all_is_there(tmp_path: Path):
    for name in ("state", "run"):
        (tmp_path / name).mkdir(0o750)
    answers = found(tmp_path)
    assert [each.outcome for each in answers["start"]] == [Outcome.OK]
    assert answers["state"][0].outcome is not Outcome.FAILED
    assert [each.outcome for each in answers["groups"]] == [Outcome.OK]


def test_a_state_folder_that_is_not_the_daemons(tmp_path: Path):
    (tmp_path / "state").mkdir(0o750)
    other = Surroundings(os.geteuid() + 4711, frozenset(), "aiidpd", unit="/x")
    answers = found(tmp_path, other)
    assert "start" not in answers
    assert any(each.outcome is Outcome.FAILED for each in answers["state"])
    (tmp_path / "state").chmod(0o777)
    assert "may write it" in found(tmp_path)["state"][0].found


def test_a_group_that_reads_metrics_and_all_else(tmp_path: Path):
    [shared] = found(tmp_path, control={"group": OWN}, telemetry={"group": OWN})["groups"]
    assert shared.outcome is Outcome.WARNING
    with_unit = Surroundings(os.geteuid(), frozenset(), "me", unit="/x")
    [missing] = found(tmp_path, with_unit, telemetry={"group": "no-such-group"})["groups"]
    assert (missing.outcome, "telemetry.group" in missing.found) == (Outcome.FAILED, True)


def test_the_group_of_the_metrics_is_that_of_the_package_where_it_can_be(monkeypatch: pytest.MonkeyPatch):
    assert metrics_group("chosen", "control") == "chosen"
    assert metrics_group("", "control") == ""
    known: dict[str, int] = {}

    def by_name(name: str) -> grp.struct_group:
        return grp.struct_group((name, "x", known[name], []))

    monkeypatch.setattr(grp, "getgrnam", by_name)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert metrics_group("auto", "control") == "control"
    known[METRICS_GROUP] = max(os.getgroups(), default=0) + 4711
    assert metrics_group("auto", "control") == "control"
    known[METRICS_GROUP] = os.getegid()
    assert metrics_group("auto", "control") == METRICS_GROUP
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    known[METRICS_GROUP] = 4711
    assert metrics_group("auto", "control") == METRICS_GROUP
