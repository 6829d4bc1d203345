from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import pytest

from aiidpd.contracts.checks import CheckResult, Outcome, Surroundings
from aiidpd.daemon.checks.keys import checks, files_of, secrets_of
from aiidpd.daemon.schema import SCHEMA

NAME = "aiidpd.bench.endpoints.local.api_key"


def settings(key: str = "") -> Any:
    endpoint = {"name": "local", "url": "http://127.0.0.1:1", "model": "m", "api_key": key}
    return SCHEMA.settings.model_validate({"bench": {"endpoints": [endpoint]}})


def found(key: str, *credentials: str) -> list[CheckResult]:
    around = Surroundings(os.geteuid(), frozenset(), "x", None, "/x", {"LoadCredential": credentials})
    [check] = checks(settings(key), around)
    return list(check.run())


def test_no_key_and_a_strong_one():
    assert [(each.outcome, each.found) for each in found("")] == [(Outcome.OK, "no key is configured")]
    key = secrets.token_hex(32)
    [result] = found(key)
    assert (result.outcome, result.found) == (Outcome.OK, "bench.endpoints.local.api_key is a strong key")
    assert secrets_of(settings(key)) == {"bench.endpoints.local.api_key": key}


@pytest.mark.parametrize(
    ("key", "word"),
    [("1764370000", "short"), ("changeme-changeme-changeme", "placeholder"), ("a" * 64, "entropy")],
)
def test_a_weak_key_is_named_and_not_shown(key: str, word: str):
    [result] = found(key)
    assert result.outcome is Outcome.WARNING
    assert word in result.found
    assert key not in result.found + result.cure


def test_the_files_of_credentials(tmp_path: Path):
    path = tmp_path / "key"
    [missing] = found("", f"{NAME}:{path}")
    assert (missing.outcome, "does not exist" in missing.found) == (Outcome.FAILED, True)
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    assert [each.outcome for each in found("", f"{NAME}:{path}")] == [Outcome.OK]
    path.chmod(0o644)
    told = found("", f"{NAME}:{path}")
    assert {each.outcome for each in told[:-1]} == {Outcome.WARNING}
    assert "world readable" in told[0].found
    path.write_text("")
    assert found("", f"{NAME}:{path}")[-1].outcome is Outcome.FAILED
    [strange] = found("", f"aiidpd.nothing:{path}")
    assert "none that aiidpd knows" in strange.found
    assert [each.found for each in found("", f"other:{path}")] == ["no key is configured"]


def test_credentials_that_systemd_finds_by_name():
    around = Surroundings(0, frozenset(), described={"LoadCredential": (NAME,)})
    assert files_of(around)[NAME].name == NAME
