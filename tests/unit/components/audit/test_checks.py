from __future__ import annotations

from aiidpd.components.audit.checks import toolkit
from aiidpd.components.audit.facts import HostFacts, Toolkit, Upgrades
from aiidpd.contracts.checks import Outcome


def outcomes(facts: HostFacts) -> list[Outcome]:
    return [each.outcome for each in toolkit(lambda: facts)]


def test_a_machine_without_the_toolkit_is_well():
    assert outcomes(HostFacts(toolkit=Toolkit())) == [Outcome.OK]
    assert outcomes(HostFacts(toolkit=Toolkit("1.18.0-1", "cdi"))) == [Outcome.OK]


def test_an_old_one_in_legacy_mode_is_found_with_its_cure():
    found = list(toolkit(lambda: HostFacts(toolkit=Toolkit("1.14.3-1", "legacy"))))
    assert [each.outcome for each in found] == [Outcome.OK, Outcome.WARNING, Outcome.WARNING]
    assert "1.14.3" in found[1].found
    assert all(each.cure for each in found[1:])


def test_a_driver_that_is_upgraded_unattended():
    facts = HostFacts(toolkit=Toolkit(), upgrades=Upgrades(True, ("nvidia-driver",)))
    assert outcomes(facts)[-1] is Outcome.WARNING


def test_what_can_not_be_read_is_a_warning():
    assert outcomes(HostFacts(unread={"toolkit": "cannot read it"})) == [Outcome.WARNING]
