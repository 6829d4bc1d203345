from __future__ import annotations

from pathlib import Path

from aiidpd.components.models.checks import checks
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.contracts.checks import Outcome, Sandbox, Surroundings


def test_folders_that_are_hidden_missing_or_there(tmp_path: Path):
    box = Surroundings(0, frozenset(), sandbox=Sandbox(strict=True, homes_hidden=True))
    paths = ["/home/alice/models", str(tmp_path / "none"), str(tmp_path)]
    [check] = checks(ModelsSettings.model_validate({"folders": paths}), box)
    found = list(check.run())
    assert [each.outcome for each in found] == [Outcome.FAILED, Outcome.FAILED, Outcome.OK]
    assert "BindReadOnlyPaths=/home/alice/models" in found[0].cure
    assert checks(ModelsSettings(), box) == ()
