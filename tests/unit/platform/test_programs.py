"""Processes of our own read no module that lies in the working directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from aiidpd.platform.programs import program

PACKAGE = Path(__file__).resolve().parents[3] / "aiidpd"
PLANTED = "import pathlib; pathlib.Path({!r}).touch()"


@pytest.mark.parametrize(
    "module",
    [
        "aiidpd.components.backup.process",
        "aiidpd.components.bench.accept.process",
        "aiidpd.components.bench.load.process",
        "aiidpd.components.models",
        "aiidpd.components.thermal.driver.nvml",
    ],
)
def test_a_module_in_the_working_directory_is_not_run(module: str, tmp_path: Path):
    """h2 is read by httpcore where it exists: the directory is anybody's, and the user may be root."""
    ran = tmp_path / "ran"
    for name in ("h2", "json", "httpx", "anyio", "aiidpd"):
        (tmp_path / f"{name}.py").write_text(PLANTED.format(str(ran)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(
        program(module),
        cwd=tmp_path,
        env=environment,
        input=b"",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert not ran.exists()


def test_no_other_place_names_the_interpreter():
    found = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "sys.executable" in path.read_text()
    ]
    assert found == ["platform/programs.py"]
