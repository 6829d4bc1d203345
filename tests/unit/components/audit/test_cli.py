from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from aiidpd.cli.main import main
from aiidpd.components.audit.evaluate import Auditor, Subjects
from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.finding import Waiver
from aiidpd.components.audit.memory import AuditView
from aiidpd.contracts.inspections import Inspection
from tests.fakes.control import control_daemon

EVIL = "evil\x1b[2J\u202e"


def view(*, waived: bool = False) -> AuditView:
    containers = [
        Inspection(id="a", name="vllm", image="x:1", privileged=True, cap_add=(f"X{EVIL}",)),
        Inspection(id="b", name=EVIL, image="x:1", cap_drop=("ALL",)),
    ]
    waivers = [Waiver("privileged", "vllm", "so", "2030-01-01")] if waived else []
    subjects = Subjects(containers=containers, waivers=waivers, facts=Facts(gpus=1))
    return AuditView(Auditor().audit(subjects))


async def run(folder: Path, found: AuditView | None, *arguments: str) -> int:
    async with control_daemon(folder) as daemon:
        if found is not None:
            daemon.views["audit"].put(found)
        command = ["--socket", str(daemon.path), "audit", *arguments]
        return await anyio.to_thread.run_sync(lambda: main(command))


async def test_findings_are_a_table_with_lines_that_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert await run(tmp_path, view()) == 1
    shown = capsys.readouterr()
    assert "critical  vllm" in shown.out
    assert "    security_opt:\n      - no-new-privileges:true\n" in shown.out
    assert "not checked" in shown.out
    assert "1 critical" in shown.err
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out


@pytest.mark.parametrize(
    ("level", "waived", "code"),
    [
        ("critical", False, 1),
        ("critical", True, 0),
        ("low", True, 1),
        ("never", False, 0),
        ("medium", True, 1),
    ],
)
async def test_the_exit_code_is_that_of_the_gravest_finding_that_is_not_waived(
    tmp_path: Path, level: str, waived: bool, code: int
):
    assert await run(tmp_path, view(waived=waived), "--fail-on", level) == code


async def test_json_is_the_document_and_sarif_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    await run(tmp_path, view(waived=True), "--format", "json")
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["counts"]["critical"] == 0
    assert document["findings"][-1]["waived"] == {"reason": "so", "until": "2030-01-01"}
    await run(tmp_path, view(), "--format", "sarif")
    log = json.loads(capsys.readouterr().out)
    assert log["version"] == "2.1.0"
    assert len(log["runs"][0]["results"]) == len(document["findings"])


async def test_before_the_first_audit_there_is_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert await run(tmp_path, None) == 1
    assert "no reading yet" in capsys.readouterr().err


def test_files_rules_and_mending_need_no_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  a:\n    image: x:1\n    privileged: true\n")
    assert main(["audit", "compose", str(file)]) == 1
    assert "critical  a" in capsys.readouterr().out
    assert main(["audit", "fix", str(file), "--rule", "privileged"]) == 0
    shown = capsys.readouterr()
    assert "-    privileged: true" in shown.out
    assert "add --apply" in shown.err
    assert main(["audit", "fix", str(file), "--apply"]) == 0
    assert main(["audit", "compose", str(file), "--fail-on", "high"]) == 0
    assert main(["audit", "fix", str(file), "--undo"]) == 0
    assert "privileged: true" in file.read_text()
    capsys.readouterr()
    assert main(["audit", "explain", "privileged"]) == 0
    assert "CIS Docker Benchmark 1.6 number 5.5" in capsys.readouterr().out
    assert main(["audit", "rules"]) == 0
    assert "engine-socket" in capsys.readouterr().out
    assert main(["audit", "explain", "nonsense"]) == 2
    assert main(["audit", "compose", str(tmp_path / "nowhere.yaml")]) == 2
    assert "it does not exist" in capsys.readouterr().err
