"""Checks of NVIDIA's container toolkit, and of upgrades that replace the driver unattended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aiidpd.components.audit.facts import Facts, HostFacts
from aiidpd.components.audit.host.files import read_host
from aiidpd.components.audit.rules import host as rules
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, ok, warning


def checks(_around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    return (Check("toolkit", toolkit),)


def toolkit(read: Callable[[], HostFacts] = read_host) -> Iterator[CheckResult]:
    """Yield version and mode of the toolkit, and what the rules on it find."""
    facts = read()
    if facts.toolkit is not None:
        if not facts.toolkit.version and not facts.toolkit.mode:
            yield ok("NVIDIA's container toolkit is not installed: containers get no GPU by it")
        else:
            mode = facts.toolkit.mode or "auto"
            yield ok(f"nvidia-container-toolkit {facts.toolkit.version or 'of unknown version'}, mode {mode}")
    for rule in rules.RULES:
        for found in rule.check(facts, Facts()):
            yield warning(found.what, found.remedy or rule.remedy)
    for name in ("toolkit", "upgrades"):
        if name in facts.unread:
            yield warning(facts.unread[name], "call aiidpd doctor as root")
