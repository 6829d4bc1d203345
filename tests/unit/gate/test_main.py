from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aiidpd.gate.__main__ import main
from tests.fakes.gate import ScriptedEngine, plain, running_gate


def test_it_serves_as_a_process_of_its_own(engine: ScriptedEngine, tmp_path: Path):
    engine.answers["/info"] = plain(200, b"{}")
    with running_gate(engine.path, tmp_path) as gate:
        assert gate.get("/info") == (200, b"{}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--wrong"], "usage:"),
        (["--config"], "usage:"),
        (["--config", "FILE"], "is no key"),
        (["--config", "FILE", "--check"], "is no key"),
        (["--config", "/none", "--listen", "/none/socket"], "cannot listen on /none/socket"),
        (["--config", "/none"], "has handed no socket over"),
    ],
)
def test_what_cannot_be_ends_with_2_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    file = tmp_path / "gate.toml"
    file.write_text("a = 1")
    assert main([str(file) if each == "FILE" else each for each in arguments]) == 2
    assert said in capsys.readouterr().err


def test_check_reads_the_configuration_alone(tmp_path: Path):
    assert main(["--config", str(tmp_path / "none"), "--check"]) == 0


def test_it_loads_nothing_but_itself_and_the_standard_library():
    code = "import sys, aiidpd.gate.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name for name in done.stdout.split() if name.startswith("aiidpd.")}
    assert loaded
    assert all(name.startswith("aiidpd.gate") for name in loaded)
    assert not {"asyncio", "dataclasses", "ssl", "pydantic", "pathlib"} & set(done.stdout.split())
