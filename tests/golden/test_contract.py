"""Promises to scripts, dashboards and people, written out: a change of one is seen in a diff."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiidpd.alerts.state import Change
from aiidpd.api import openapi
from aiidpd.cli.main import main
from aiidpd.components.thermal.alerts.rules import rules
from aiidpd.config.load import describe, load
from aiidpd.config.schema import dotted
from aiidpd.daemon.reference import every_route
from aiidpd.daemon.schema import SCHEMA
from aiidpd.kernel.supervisor import Ending
from tests.golden.golden import as_text, equals_golden, rows

PACKAGE = Path(__file__).resolve().parents[2] / "aiidpd"
LOADED = load(SCHEMA, None, {}, default_path=Path("/nonexistent"))
KIND = re.compile(
    r"(alert|audit|backup|bench|config|container|control|daemon|engine|finding|gpu|history|incident|metrics|model|worker)"
    r"\.([a-z_]+|\{\})"
)
FILES = ("safetensors", "gguf", "json", "sock", "toml", "log", "md", "lock", "sig")


def test_the_description_of_the_api() -> None:
    equals_golden(as_text(openapi.describe(every_route(), "1.2.3")), "openapi.json")


def test_the_alerts_by_the_default_configuration() -> None:
    found = rules(LOADED.settings.gpu.alerts)
    head = ("name", "severity", "dwell", "keep_firing", "stale_after", "looks_back", "runbook")
    figures = [
        (
            rule.name,
            rule.severity.name.lower(),
            *(f"{getattr(rule, name):g}" for name in head[2:6]),
            rule.runbook,
        )
        for rule in found
    ]
    words = [
        line
        for rule in found
        for line in (
            (),
            (rule.name,),
            ("meaning", rule.meaning),
            ("summary", rule.summary),
            ("remedy", rule.remedy),
        )
    ]
    equals_golden(rows(head, *figures, *words), "alert_rules.txt")


def _texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts in ``tree``; what a text fills in stands as ``{}``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _words(tree: ast.AST) -> Iterator[str]:
    """Yield the single words that functions in ``tree`` are called with; a class is none."""
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and not ast.unparse(node.func)[0].isupper()
        for value in node.args if called and isinstance(node, ast.Call) else ():
            if isinstance(value, ast.Constant) and re.fullmatch(r"[a-z_]+", str(value.value)):
                yield str(value.value)


def test_every_kind_of_event_that_the_source_names() -> None:
    settings = {key for key, _, _ in describe(LOADED)} | {dotted(key) for key in SCHEMA.moved}
    kinds = {f"alert.{change}" for change in Change} | {f"worker.{ending}" for ending in Ending}
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        named = {
            text
            for text in set(_texts(tree)) - settings
            if KIND.fullmatch(text) and text.partition(".")[2] not in FILES
        }
        kinds |= named
        if "container.{}" in named:
            kinds |= {f"container.{word}" for word in _words(tree)}
    equals_golden(rows(*((kind,) for kind in sorted(kinds))), "event_kinds.txt")


def _help(*command: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    return said.getvalue()


def _commands(text: str) -> list[str]:
    """Return the commands that a help text lists."""
    _, found, listed = text.partition("\ncommands:\n")
    return re.findall(r"^    (\w+)", listed, re.MULTILINE) if found else []


def _helps(*command: str) -> Iterator[tuple[tuple[str, ...], str]]:
    text = _help(*command)
    yield command, text
    for name in _commands(text):
        yield from _helps(*command, name)


def test_the_help_of_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("AIIDPCTL_SOCKET", raising=False)
    found = list(_helps())
    assert len(found) > 20
    text = "\n".join(f"$ {' '.join(('aiidpctl', *command))} --help\n{said}" for command, said in found)
    equals_golden(text, "help.txt")
