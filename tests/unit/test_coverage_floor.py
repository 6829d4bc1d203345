"""CI's floor under what the tests cover."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "packaging" / "coverage_floor.py"
PURE, OTHER = '"""Decides (pure)."""\n', '"""Reads."""\nPURE = "(pure)"\n'


def summary(covered: int, missing: int) -> dict[str, int]:
    half, rest = covered // 2, missing // 2
    return {
        "covered_lines": covered - half,
        "covered_branches": half,
        "missing_lines": missing - rest,
        "missing_branches": rest,
        "num_statements": covered - half + missing - rest,
        "num_branches": half + rest,
    }


@pytest.mark.parametrize(
    ("pure", "other", "code", "figures"),
    [
        ((95, 5), (75, 25), 0, ("95.0 % of 1 pure", "85.0 % of 2 all")),
        ((94, 6), (94, 6), 1, ("94.0 % of 1 pure", "94.0 % of 2 all")),
        ((100, 0), (69, 31), 1, ("100.0 % of 1 pure", "84.5 % of 2 all")),
    ],
)
def test_it_fails_where_either_floor_is_not_reached(
    tmp_path: Path, pure: tuple[int, int], other: tuple[int, int], code: int, figures: tuple[str, ...]
) -> None:
    (tmp_path / "pure.py").write_text(PURE)
    (tmp_path / "other.py").write_text(OTHER)
    files = {"pure.py": {"summary": summary(*pure)}, "other.py": {"summary": summary(*other)}}
    (tmp_path / "coverage.json").write_text(json.dumps({"files": files}))
    command = [sys.executable, str(SCRIPT), "coverage.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    for figure in figures:
        assert figure in done.stdout
    assert f"{other[1]} missed: other.py" in done.stdout


def test_without_any_pure_module_the_floor_is_not_reached(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(OTHER)
    (tmp_path / "coverage.json").write_text(json.dumps({"files": {"other.py": {"summary": summary(9, 0)}}}))
    command = [sys.executable, str(SCRIPT), "coverage.json"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1
