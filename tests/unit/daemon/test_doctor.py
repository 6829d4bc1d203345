from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from aiidpd.__main__ import main
from aiidpd.cli.text import Paint
from aiidpd.component import Spec
from aiidpd.components.all import COMPONENTS
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Outcome, Surroundings, failed, ok, warning
from aiidpd.daemon import doctor as doctor_module
from aiidpd.daemon.doctor import Line, doctor, document, run, worst
from aiidpd.daemon.doctor_text import summary, written
from aiidpd.daemon.schema import SCHEMA
from aiidpd.kernel.errors import Unavailable

PLAIN = Paint()


def raising(error: BaseException) -> Check:
    def fail() -> Iterator[CheckResult]:
        yield ok("so far so good")
        raise error

    return Check("bad", fail)


def test_results_stand_in_the_order_of_the_checks():
    checks = [Check(f"c{number}", lambda number=number: (ok(str(number)),)) for number in range(20)]
    assert [line.result.found for line in run(checks)] == [str(number) for number in range(20)]


def test_a_check_that_raises_costs_its_own_line_and_is_never_a_traceback(capfd: pytest.CaptureFixture[str]):
    checks = [
        raising(RuntimeError("odd")),
        raising(Unavailable("read", "x", reason="it is away", remedy="bring it")),
        raising(PermissionError(13, "Permission denied", "/etc/x")),
        raising(SystemExit(3)),
        raising(RecursionError()),
        Check("none", lambda: None),  # type: ignore[arg-type, return-value]
        Check("good", lambda: (ok("well"),)),
    ]
    lines = run(checks)
    told = [
        (line.result.outcome, line.result.found) for line in lines if line.result.outcome is not Outcome.OK
    ]
    assert told[0] == (Outcome.FAILED, "the check itself failed: RuntimeError: odd")
    assert told[1] == (Outcome.FAILED, "it is away")
    assert told[2] == (Outcome.WARNING, f"user {os.geteuid()} may not read /etc/x")
    assert [outcome for outcome, _ in told[3:]] == [Outcome.FAILED] * 3
    assert sum(line.result.found == "so far so good" for line in lines) == 5
    assert lines[-1] == Line("good", ok("well"))
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_check_that_hangs_is_left_behind():
    release = threading.Event()

    def hang() -> Iterator[CheckResult]:
        yield ok("begun")
        release.wait()

    now = iter([0.0, 0.0, 4.999, 1000.0])
    lines = run([Check("hangs", hang, 5.0), Check("good", lambda: (ok("well"),))], lambda: next(now, 0.0))
    release.set()
    assert [line.name for line in lines][-1] == "good"
    assert "did not end within 5 s" in "".join(line.result.found for line in lines if line.name == "hangs")


def test_a_component_whose_checks_can_not_be_made_costs_one_line(tmp_path: Path):
    def broken(_settings: Settings, _around: Surroundings) -> tuple[Check, ...]:
        raise ImportError("no module")

    spec = replace(COMPONENTS[0], name="odd", checks=broken)
    lines = doctor(tmp_path / "none.toml", {}, (spec,))
    assert [line.result.found for line in lines if line.name == "odd"] == [
        "the check itself failed: ImportError: no module"
    ]


@pytest.mark.parametrize("spec", COMPONENTS, ids=lambda spec: spec.name)
def test_the_checks_of_each_component_work_on_defaults_here(spec: Spec):
    around = Surroundings(os.geteuid(), frozenset(os.getgroups()), "someone")
    lines = run(spec.checks(SCHEMA.settings(), around))
    assert [line for line in lines if "itself failed" in line.result.found] == []
    for line in lines:
        assert line.result.found
        assert line.result.cure or line.result.outcome is Outcome.OK, line


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("state", "run"):
        (tmp_path / name).mkdir(0o750)
    path = tmp_path / "aiidpd.toml"
    path.write_text(
        f'[daemon]\nstate_directory = "{tmp_path}/state"\nruntime_directory = "{tmp_path}/run"\n'
        '[gpu]\nlibrary = "off"\n[containers]\nengine = "off"\n'
        '[telemetry]\nlisten = ""\n[control]\ngroup = ""\n'
    )
    return path


def found_by(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, list[str]]]:
    code = main(["doctor", "--json", "--config", str(config)])
    answer = json.loads(capsys.readouterr().out)
    outcomes: dict[str, list[str]] = {}
    for each in answer["checks"]:
        outcomes.setdefault(each["name"], []).append(each["outcome"])
    assert answer["user"] == os.geteuid()
    assert answer["outcome"] == max(chain(*outcomes.values()), key=["ok", "warning", "failed"].index)
    return code, outcomes


def test_warnings_exit_0_and_a_failure_1(config: Path, capsys: pytest.CaptureFixture[str]):
    code, outcomes = found_by(config, capsys)
    assert outcomes["daemon"] == ["warning"]
    assert outcomes["config"] == ["ok"]
    assert code == 0, outcomes
    config.write_text(config.read_text() + "[backup]\nsource = 7\n")
    code, outcomes = found_by(config, capsys)
    assert outcomes["config"] == ["failed"]
    assert code == 1


def test_a_missing_file_that_was_named_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, outcomes = found_by(tmp_path / "none.toml", capsys)
    assert (code, outcomes["config"]) == (1, ["failed"])


def test_lines_for_a_person_have_the_cure_below(config: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--config", str(config)]) == 0
    shown = capsys.readouterr()
    assert "ok       config" in shown.out
    assert "-> systemctl start aiidpd" in shown.out
    assert f"as user {os.geteuid()}" in shown.err
    lines = [
        Line("a", failed("one\x1b[31m\ntwo", "do\nthis")),
        Line("long.name", warning("w", "c")),
        Line("b", ok("x")),
    ]
    assert list(written(lines, PLAIN)) == [
        "failed   a          one\\x1b[31m two",
        "                    -> do this",
        "warning  long.name  w",
        "                    -> c",
        "ok       b          x",
    ]
    assert summary(lines).startswith("1 ok, 1 warning, 1 failed; ")
    assert worst(lines) is Outcome.FAILED
    assert worst([]) is Outcome.OK
    assert document(lines)["outcome"] == "failed"


def test_a_check_may_not_fill_the_answer():
    def many() -> Iterable[CheckResult]:
        return [ok("x" * 10_000)] * 1000

    lines = run([Check("many", many)])
    assert len(lines) == doctor_module._MOST
    assert len(json.dumps(document(lines))) < 500_000


def test_a_configuration_that_can_not_be_read_costs_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(doctor_module.config, "read", fail)
    lines = doctor(tmp_path / "none.toml", {}, ())
    [found] = [line.result for line in lines if line.name == "config"]
    assert found.outcome is Outcome.FAILED
    assert "Input/output error" in found.found
    assert {"program", "clock", "kernel"} <= {line.name for line in lines}
