from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.audit.compose.kept import copy_of
from aiidpd.components.audit.compose.pin import digest_of
from aiidpd.components.audit.sarif import sarif
from aiidpd.components.audit.tool import compose, fix, main, pin, rules

DIGEST = "sha256:" + "d" * 64
TEXT = """\
services:
  vllm:
    image: vllm/vllm-openai:v0.11  # the engine
    privileged: true
    ports: ["8000:8000"]
    environment: {VLLM_API_KEY: ohnonothing1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yaml"
    path.write_text(TEXT)
    return path


def mend(file: Path, **given: Any) -> dict[str, Any]:
    request = {"file": str(file), "undo": False, "apply": False, "rules": [], "guesses": False}
    return fix(request | given)


def test_a_file_is_judged_with_the_line_of_each_service(file: Path):
    document = compose({"files": [str(file)]})
    found = {each["rule"]: each for each in document["findings"]}
    assert found["privileged"]["line"] == 2
    assert found["privileged"]["file"] == str(file)
    assert found["privileged"]["severity"] == "critical"
    assert "ohnonothing1" not in json.dumps(document)


def test_mending_is_shown_first_then_written_and_undone(file: Path):
    shown = mend(file)
    assert not shown["written"]
    assert file.read_text() == TEXT
    assert "-    privileged: true" in shown["diff"]
    file.chmod(0o640)
    written = mend(file, apply=True)
    assert written["written"]
    assert "# the engine" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert Path(written["kept"]) == copy_of(file)
    assert stat.S_IMODE(copy_of(file).stat().st_mode) == 0o600
    left = {each["rule"] for each in compose({"files": [str(file)]})["findings"]}
    assert left == {"memory-unlimited", "cpu-unlimited", "image-unpinned", "secret-environment"}
    assert mend(file, undo=True)["undone"]
    assert file.read_text() == TEXT
    assert not copy_of(file).exists()


def test_one_rule_alone_and_values_that_a_person_should_choose(file: Path):
    mend(file, apply=True, rules=["privileged"])
    assert file.read_text() == TEXT.replace("    privileged: true\n", "")
    mend(file, apply=True, rules=["memory-unlimited"])
    assert "mem_limit" not in file.read_text()
    mend(file, apply=True, rules=["memory-unlimited"], guesses=True)
    assert "mem_limit" in file.read_text()


def test_an_undo_does_not_overwrite_what_somebody_changed_since(file: Path):
    mend(file, apply=True)
    file.write_text(f"{file.read_text()}# by hand\n")
    answer = asked({"command": "fix", "file": str(file), "undo": True})
    assert "somebody changed it since" in answer["error"]
    assert file.read_text().endswith("# by hand\n")


def test_an_undo_without_a_change_and_with_a_broken_copy(file: Path):
    assert "nothing was changed" in asked({"command": "fix", "file": str(file), "undo": True})["error"]
    copy_of(file).write_text("{")
    assert "can't be read" in asked({"command": "fix", "file": str(file), "undo": True})["error"]


def test_a_rule_that_does_not_exist(file: Path):
    request = {"command": "fix", "file": str(file), "undo": False, "rules": ["nonsense"]}
    assert "there is no rule nonsense" in asked(request)["error"]


def asked(request: dict[str, Any]) -> dict[str, Any]:
    out = io.StringIO()
    assert main(io.StringIO(json.dumps(request)), out) == 0
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def test_only_digests_that_were_read_are_written(file: Path):
    images = {"vllm/vllm-openai:v0.11": {"RepoDigests": [f"vllm/vllm-openai@{DIGEST}"]}}
    done = pin({"file": str(file), "apply": True}, images.get)
    assert f"    image: vllm/vllm-openai:v0.11@{DIGEST}  # the engine" in file.read_text().splitlines()
    assert done["left"] == []
    again = pin({"file": str(file), "apply": True}, images.get)
    assert (again["applied"], again["left"], again["diff"]) == ([], [], "")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (None, "does not have it"),
        ({"RepoDigests": []}, "no registry"),
        ({"RepoDigests": "x"}, "no registry"),
        ({"RepoDigests": [f"evil/other@{DIGEST}"]}, "no registry"),
    ],
)
def test_no_digest_is_invented(file: Path, image: dict[str, Any] | None, reason: str):
    done = pin({"file": str(file), "apply": True}, lambda _: image)
    assert reason in done["left"][0]["reason"]
    assert file.read_text() == TEXT


def test_an_engine_that_does_not_answer_is_an_error(file: Path, tmp_path: Path):
    answer = asked({"command": "pin", "file": str(file), "apply": True, "engine": str(tmp_path / "no.sock")})
    assert "no such file" in answer["error"]


@pytest.mark.parametrize(
    ("image", "digests", "expected"),
    [
        ("nginx:1", [f"nginx@{DIGEST}"], DIGEST),
        ("docker.io/library/nginx", [f"nginx@{DIGEST}"], DIGEST),
        ("localhost:5000/a:1", [f"localhost:5000/a@{DIGEST}"], DIGEST),
        ("a/b:1", [f"a/c@{DIGEST}"], ""),
        ("a/b:1", ["a/b@sha256:short"], ""),
    ],
)
def test_a_digest_is_that_of_the_same_repository(image: str, digests: list[str], expected: str):
    assert digest_of(image, {"RepoDigests": digests}) == expected


def test_every_rule_can_be_explained():
    assert len(rules({})["rules"]) >= 40
    assert all(each["finds"] and each["why"] and each["remedy"] for each in rules({})["rules"])


def check_sarif(log: dict[str, Any]) -> None:
    """Fail where ``log`` lacks what the schema of SARIF 2.1.0 requires, or has a value it does not know."""
    assert log["version"] == "2.1.0"
    for run in log["runs"]:
        driver = run["tool"]["driver"]
        assert isinstance(driver["name"], str)
        names = [each["id"] for each in driver["rules"]]
        assert len(set(names)) == len(names)
        assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
        for result in run["results"]:
            assert isinstance(result["message"]["text"], str)
            assert names[result["ruleIndex"]] == result["ruleId"]
            assert result["level"] in ("none", "note", "warning", "error")
            assert all(isinstance(each, str) for each in result["partialFingerprints"].values())
            for each in result.get("suppressions", ()):
                assert each["kind"] in ("inSource", "external")
                assert each["status"] in ("accepted", "underReview", "rejected")
            for place in result["locations"]:
                if "physicalLocation" in place:
                    assert isinstance(place["physicalLocation"]["artifactLocation"]["uri"], str)
                    assert place["physicalLocation"]["region"]["startLine"] >= 1


def test_findings_are_a_log_of_sarif(file: Path):
    findings = compose({"files": [str(file)]})["findings"]
    findings[0]["waived"] = {"reason": "so", "until": "2027-01-01"}
    log = sarif(findings, "1.2.3")
    check_sarif(log)
    run = log["runs"][0]
    assert len(run["results"]) == len(findings)
    assert run["results"][0]["suppressions"][0]["status"] == "accepted"
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 2
    assert place["artifactLocation"]["uri"] == f"file://{file}"
