"""Verification of a heal: well within its grace, or not (pure)."""

from __future__ import annotations

from typing import Final

from aiidpd.components.containers.heal.policy import HealPolicy
from aiidpd.components.containers.heal.state import Heal, Observed, Outcome
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.engines import Verdict

LEAST: Final = 10.0
"""Seconds that a heal has at least, however short its grace: a health check has to come round."""
SETTLED: Final = 10.0
"""Seconds after which a container without a health check that runs counts as well."""
_WELL: Final = frozenset({Verdict.IDLE, Verdict.WORKING, Verdict.SATURATED, Verdict.SLEEPING})


def deadline(heal: Heal, policy: HealPolicy) -> float:
    """Return the stamp by which the container of ``heal`` must be well."""
    return (heal.began if heal.acted is None else heal.acted) + max(LEAST, policy.grace)


def verified(
    heal: Heal, reading: ContainerReading, policy: HealPolicy, observed: Observed
) -> tuple[Outcome, str] | None:
    """Return the outcome of ``heal`` and why, None while that is open."""
    since = observed.now - (heal.began if heal.acted is None else heal.acted)
    if reading.state not in ("running", "paused", "restarting", "created"):
        if reading.id in observed.stopped:
            return Outcome.INTERRUPTED, "somebody stopped it"
        return Outcome.FAILED, f"it ended again, with code {reading.exit_code}"
    if reading.state == "running" and (well := _well(reading, policy, observed, since)):
        return Outcome.HEALED, f"{well} {since:.0f} s after the act"
    if observed.now >= deadline(heal, policy):
        health = reading.health or "without a health check"
        return Outcome.FAILED, f"it is {reading.state} and {health} after {since:.0f} s"
    return None


def _well(reading: ContainerReading, policy: HealPolicy, observed: Observed, since: float) -> str:
    """Return why a running container counts as well, an empty text where it does not (yet)."""
    if reading.id in observed.requests or reading.health not in (None, "healthy"):
        return ""
    verdict = observed.verdicts.get(reading.id, Verdict.UNKNOWN)
    if reading.health == "healthy":
        return "" if verdict in (Verdict.HUNG, Verdict.STALLED) else "healthy"
    if verdict in _WELL:
        return f"its engine is {verdict}"
    if verdict is Verdict.UNKNOWN and since >= min(SETTLED, max(1.0, policy.grace)):
        return "it runs, and nothing checks its health,"
    return ""
