"""Stand-in for re-creation where it is not there: simulated containers have none."""

from __future__ import annotations

from typing import Final

from aiidpd.components.containers.heal.protocols import NotRecreated, Recovered, Recreated

_REFUSAL: Final = NotRecreated("these containers can't be created anew by aiidpd")


class NoRecreator:
    """Creates nothing anew."""

    @property
    def pending(self) -> bool:
        return False

    async def check(self, identity: str) -> NotRecreated | None:
        del identity
        return _REFUSAL

    async def recreate(self, identity: str, *, grace: float) -> Recreated | NotRecreated:
        del identity, grace
        return _REFUSAL

    async def recover(self) -> tuple[Recovered, ...]:
        return ()

    async def aclose(self) -> None:
        """Hold nothing."""
