from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from aiidpd.alerts.cli_runbook import FOLDER, NoRunbook, names, page
from aiidpd.cli.main import main

ROOT = Path(__file__).parents[3]


def test_a_page_is_shown_without_a_daemon(capsys: pytest.CaptureFixture[str]):
    assert main(["--socket", "/nonexistent", "runbook", "gpulost"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# GpuLost\n\n")
    assert "1. " in shown


def test_all_pages_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["runbook"]) == 0
    assert capsys.readouterr().out.split() == names()
    assert main(["runbook", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runbooks": names()}
    assert main(["runbook", "GpuLost", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "GpuLost", "text": page("GpuLost")}


@pytest.mark.parametrize(
    "name", ["GpuLosst", "", "../rule.py", "..", "/etc/passwd", "x" * 500, "Gpu\x1b[31m"]
)
def test_a_name_that_no_page_has_is_a_wrong_use(name: str, capsys: pytest.CaptureFixture[str]):
    assert main(["runbook", name]) == 2
    assert "there is no such page" in (told := capsys.readouterr().err)
    assert "\x1b" not in told
    with pytest.raises(NoRunbook):
        page(name)


def test_the_pages_are_in_the_wheel(tmp_path: Path):
    # In a process: building changes the folder that this one works in.
    build = "import sys, pathlib\nfrom flit_core.wheel import make_wheel_in\n"
    build += "print(make_wheel_in(*map(pathlib.Path, sys.argv[1:])).file)"
    done = subprocess.run(
        [sys.executable, "-c", build, ROOT / "pyproject.toml", tmp_path],
        check=True,
        capture_output=True,
        text=True,
    )
    with zipfile.ZipFile(done.stdout.strip()) as archive:
        packed = set(archive.namelist())
    assert {f"aiidpd/alerts/runbooks/{name}.md" for name in names()} <= packed
    assert Path(FOLDER).name == "runbooks"
