"""The second instance that docs/operations.md describes starts as it is written there, in an empty home."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
SECTION = (
    (ROOT / "docs/operations.md").read_text().partition("## A second instance\n")[2].partition("\n## ")[0]
)
BLOCKS = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIIDP")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Of this machine's containers it must touch none, whatever their labels say.
    quiet = {"AIIDPD_CONTAINERS__ENGINE": "off", "AIIDPD_GPU__LIBRARY": "off"}
    return {**clean, **quiet, "HOME": str(tmp_path), "PATH": path}


def test_it_starts_and_answers_as_the_page_says(tmp_path: Path, environment: dict[str, str]) -> None:
    prepare, run = BLOCKS[0].replace("9754", str(free_port())).rsplit("aiidpd run", 1)
    checked = subprocess.run(
        ["sh", "-euc", prepare],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "aiidpd: the configuration can be used\n")
    log = tmp_path / "log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            ["sh", "-euc", f"exec aiidpd run{run}"], env=environment, stdout=out, stderr=out
        )
    try:
        until((tmp_path / "aiidpd/run/control.sock").exists, why=log.read_text)
        shown = subprocess.run(
            ["sh", "-euc", BLOCKS[1]],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert shown.returncode in (0, 1), shown.stderr
        assert "thermal" in shown.stdout
        doctor = subprocess.run(
            ["sh", "-euc", 'aiidpd doctor --config "$HOME/aiidpd/aiidpd.toml"'],
            env=environment, capture_output=True, text=True, timeout=4 * PATIENCE, check=False,
        )  # fmt: skip
        assert re.search(r"^(ok|warning) +daemon +aiidpd .* runs since", doctor.stdout, re.MULTILINE), (
            doctor.stdout
        )
        assert re.search(r"^ok +ports .* is served by a running aiidpd", doctor.stdout, re.MULTILINE)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(PATIENCE)
