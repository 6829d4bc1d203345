"""Stand-ins for evidence and re-creation, where these are not there: simulated containers have neither."""

from __future__ import annotations

from collections.abc import Mapping

from aiidpd.components.containers.heal.protocols import HealSubject, NotRecreated, Recreated
from aiidpd.kernel.events import Scalar


class NoEvidence:
    """Collects nothing."""

    async def collect(self, subject: HealSubject, evidence: Mapping[str, Scalar]) -> str:
        """Return that there is no incident."""
        del subject, evidence
        return ""


class NoRecreator:
    """Creates nothing anew."""

    async def check(self, identity: str) -> NotRecreated | None:
        """Return why."""
        del identity
        return NotRecreated("these containers can't be created anew by aiidpd")

    async def recreate(self, identity: str, *, grace: float) -> Recreated | NotRecreated:
        """Refuse."""
        del identity, grace
        return NotRecreated("these containers can't be created anew by aiidpd")
