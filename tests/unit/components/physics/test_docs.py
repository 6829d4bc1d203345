"""Worked examples of docs/physics.md, run: each writes what the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from aiidpd.cli.main import main
from aiidpd.physics.efficiency import GENERAL
from aiidpd.physics.hardware import parse_hardware

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs/physics.md").read_text()
EXAMPLES = re.findall(r"```\n\$ aiidpctl ([^\n]+)\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_an_example_writes_what_the_page_shows(
    command: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == shown


def test_the_page_has_the_constants_that_the_code_has() -> None:
    families = parse_hardware((ROOT / "aiidpd/physics/hardware.toml").read_text()).families
    rows = re.findall(r"^\| .* \| ([\d.]+) \| (.*?) ?\| ([\d.]+)(?: ms)? \| .* \|$", PAGE, re.MULTILINE)
    constants = {(float(share), float(overhead)) for share, _, overhead in rows}
    expected = {(of.share, 1000 * of.overhead_seconds) for of in (GENERAL, *families.values())}
    assert constants == expected
    assert rows[0][1] == "1.8 TB/s"
    assert GENERAL.in_flight == 1.8e12
