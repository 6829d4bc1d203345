"""Heals as text for people."""

from __future__ import annotations

from typing import Any

from aiidpd.api.document import adapter
from aiidpd.cli.text import Paint
from aiidpd.components.containers.heal.api import HealingDocument, HealPlanDocument
from aiidpd.components.containers.heal.cli_text import heal_result, healing_table, plan_lines
from tests.documents import NOW

PLAIN = Paint()
POLICY: dict[str, Any] = {
    "mode": "restart", "origin": "default", "budget": 5, "window": 3600.0, "grace": 300.0, "drain": 30.0,
    "stop_grace": 10.0, "depends_on": [], "follow_restarts": False, "quiet_hours": "", "problems": [],
}  # fmt: skip
HEALING: dict[str, Any] = {
    "id": "c1", "decision": "nothing", "reason": "", "fault": "", "until": None, "budget_left": 5,
    "parked_since": None, "remedy": "", "suspended_until": None, "suspended_by": "", "policy": POLICY,
    "last": None,
}  # fmt: skip
PLAN: dict[str, Any] = {
    "name": "db", "cure": "restart", "decision": "nothing", "reason": "", "refusal": "", "remedy": "",
    "drain": 30.0, "stop_grace": 10.0, "dependants": [], "restarted": [],
}  # fmt: skip


def healing(name: str, **more: Any) -> dict[str, Any]:
    document = HEALING | {"name": name} | more
    adapter(HealingDocument).validate_python(document)
    return document


def shown(*containers: dict[str, Any]) -> list[str]:
    return healing_table({"containers": containers}, PLAIN)


def plan(**more: Any) -> list[str]:
    adapter(HealPlanDocument).validate_python(PLAN | more)
    return plan_lines(PLAN | more)


def test_what_is_parked_comes_first_with_the_way_out() -> None:
    parked = healing("vllm", decision="parked", budget_left=0, reason="spent", remedy="unpark it")
    lines = shown(healing("calm"), parked)
    assert lines[1].startswith("vllm       restart  parked  0 of 5 in 1 h")
    assert lines[-1] == "vllm: spent; unpark it"


def test_suspended_ones_and_labels_that_make_no_sense_are_named() -> None:
    policy = POLICY | {"mode": "notify", "problems": ["aiidpd.budget: 'x\x1b' is none"]}
    lines = shown(healing("vllm", suspended_by="ada", suspended_until=NOW, policy=policy))
    assert lines[2].startswith("vllm: suspended by ada until 2")
    assert lines[3] == "vllm: aiidpd.budget: 'x\\x1b' is none"
    assert shown(healing("vllm", suspended_by="ada"))[2] == "vllm: suspended by ada until it is resumed"
    assert shown() == []


def test_one_that_waits_says_until_when() -> None:
    lines = shown(healing("vllm", decision="wait", reason="it may still be starting", until=NOW))
    assert lines[-1].startswith("vllm: it may still be starting; decided again at 2")


def test_a_plan_names_those_that_follow_and_a_refusal_its_remedy() -> None:
    lines = plan(dependants=["app", "web"], restarted=["app"])
    assert "containers that need it, in the order of their start: app, web" in lines
    assert "of these would be restarted after it: app" in lines
    lines = plan(cure="recreate", refusal="it has a secret", remedy="use compose")
    assert lines[:2] == ["db can't be created anew: it has a secret", "use compose"]


def test_a_result_names_its_evidence() -> None:
    assert heal_result({"result": {"reason": "healthy", "incident": "i-1"}}) == [
        "healthy",
        "evidence: aiidpctl incidents show i-1",
    ]
    assert heal_result({"result": {}}) == []
