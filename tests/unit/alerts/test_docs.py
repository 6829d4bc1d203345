"""Every alert has words for the person on call: a runbook, a row in the manual, a summary."""

from __future__ import annotations

import pytest

from aiidpd.alerts.cli_runbook import names, page
from aiidpd.alerts.rule import AlertRule, by_name
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.settings import AlertSettings

RULES = rules.rules(AlertSettings())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_alert_has_a_runbook_of_its_own(rule: AlertRule):
    text = page(rule.runbook.removeprefix("aiidpctl runbook "))
    assert text.startswith(f"# {rule.name}\n\n")
    assert "\n1. " in text
    assert len(text.splitlines()) < 20


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_alert_has_every_word(rule: AlertRule):
    assert rule.name[0].isupper()
    assert rule.name.isalnum()
    assert rule.meaning.endswith(".")
    assert rule.remedy
    assert rule.needs


def test_no_runbook_is_left_of_an_alert_that_is_gone():
    known = {rule.name for rule in RULES}
    assert set(names()) == known


def test_names_are_used_once():
    assert len(by_name(RULES)) == len(RULES)
