"""Every rule of the audit (pure): the only list of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiidpd.components.audit.facts import HostFacts, Listener, ModelFacts
from aiidpd.components.audit.rule import Rule
from aiidpd.components.audit.rules import (
    drift,
    engine,
    files,
    gpu,
    host,
    images,
    limits,
    models,
    namespaces,
    network,
    privileges,
    secrets,
    waivers,
)
from aiidpd.contracts.inspections import EngineFacts, Inspection

GROUPS: Final[Mapping[str, tuple[Rule[Any], ...]]] = {
    "privileges": privileges.RULES,
    "namespaces": namespaces.RULES,
    "files": files.RULES,
    "network": network.RULES,
    "limits": limits.RULES,
    "images": images.RULES,
    "secrets": secrets.RULES,
    "gpu": gpu.RULES,
    "drift": drift.RULES,
    "engine": engine.RULES,
    "host": (*host.RULES, *host.LISTENER_RULES),
    "models": (*models.RULES, *models.CONTAINER_RULES),
    "waivers": waivers.RULES,
}
CONTAINER_RULES: Final[tuple[Rule[Inspection], ...]] = (
    *privileges.RULES,
    *namespaces.RULES,
    *files.RULES,
    *network.RULES,
    *limits.RULES,
    *images.RULES,
    *secrets.RULES,
    *gpu.RULES,
    *drift.RULES,
    *models.CONTAINER_RULES,
)
ENGINE_RULES: Final[tuple[Rule[EngineFacts], ...]] = engine.RULES
HOST_RULES: Final[tuple[Rule[HostFacts], ...]] = host.RULES
LISTENER_RULES: Final[tuple[Rule[Listener], ...]] = host.LISTENER_RULES
MODEL_RULES: Final[tuple[Rule[ModelFacts], ...]] = models.RULES
WAIVER_RULES: Final = waivers.RULES
BY_ID: Final[Mapping[str, Rule[Any]]] = {rule.id: rule for group in GROUPS.values() for rule in group}


def table() -> str:
    """Return the table of all rules for the reference, in Markdown."""
    lines = ["| rule | severity | CIS | it finds | because |", "| --- | --- | --- | --- | --- |"]
    for rules in GROUPS.values():
        for each in rules:
            title = each.title[:1].lower() + each.title[1:]
            lines.append(f"| `{each.id}` | {each.severity.word} | {each.cis} | {title} | {each.why} |")
    return "\n".join(lines) + "\n"
