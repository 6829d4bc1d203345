"""The commands that README and docs show work as they are shown, on a running daemon."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, running
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"```(?:console|sh)\n(.*?)```", re.DOTALL)
AIIDPCTL = Path(sys.executable).parent / "aiidpctl"


def shown() -> list[str]:
    """Return every aiidpctl command that a page shows, without its remark."""
    lines = [
        line for page in PAGES for block in FENCE.findall(page.read_text()) for line in block.splitlines()
    ]
    commands = (re.split(r"  #| > ", line.removeprefix("$ "))[0].strip() for line in lines)
    return sorted({command for command in commands if command.startswith("aiidpctl ")})


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("docs")) as daemon:
        daemon.wait_for(
            "aiidpd_bench_output_tokens_per_second",
            "aiidpd_backup_last_success_timestamp_seconds",
            "aiidpd_models_found",
        )
        yield daemon


def test_pages_show_commands():
    assert len(shown()) > 5


@pytest.mark.parametrize("command", shown())
def test_a_command_that_a_page_shows_works(daemon: Daemon, command: str):
    if re.search(r"\b[A-Z]{2,}\b", command):
        pytest.fail(f"{command}: a placeholder can't be tried; show a command that works")
    arguments = [AIIDPCTL, "--socket", daemon.folder / "run/control.sock", *shlex.split(command)[1:]]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if "--follow" in command:  # it goes on until it is ended; what has happened comes at once
            assert process.stdout is not None
            assert process.stdout.readline()
            return
        out, err = process.communicate(timeout=4 * PATIENCE)
        if command == "aiidpctl incidents show last" and not out:
            assert err == "there are no incidents\n"  # a calm machine has none
        else:
            assert process.returncode == 0, out + err
    finally:
        process.kill()
        process.communicate()


def test_make_has_the_targets_that_readme_shows():
    targets = re.findall(r"\$ make (\w+)", (ROOT / "README.md").read_text())
    assert {"run", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
