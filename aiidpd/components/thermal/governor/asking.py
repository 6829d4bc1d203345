"""Asks others to leave a GPU alone, for as long as it is on the last rung of its ladder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.thermal.governor.events import GovernorPublisher
from aiidpd.contracts.messages import BACK_OFF, BACK_OFF_ENDED, joined
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Scalar, Severity

BACK_OFF_SECONDS: Final = 600.0
"""How long an ask holds unless it is said again: so none outlives a daemon that can't take it back."""


class BackOffRequester:
    """Says each ask again at half of its time. ``containers`` are those that are named in it."""

    def __init__(self, teller: GovernorPublisher, clock: Clock, containers: tuple[str, ...]) -> None:
        self._teller = teller
        self._clock = clock
        self._containers = joined(containers)
        self._asked: dict[str, float] = {}

    @property
    def standing(self) -> tuple[str, ...]:
        """The GPUs, by UUID, that others are asked to leave alone."""
        return tuple(self._asked)

    def due(self, now: float) -> Iterator[str]:
        """Yield the GPUs whose ask is to be said again."""
        for uuid, asked in tuple(self._asked.items()):
            if now - asked >= BACK_OFF_SECONDS / 2:
                yield uuid

    def ask(self, index: int, uuid: str, reason: str) -> None:
        """Ask, or ask again."""
        self._asked[uuid] = self._clock.monotonic()
        evidence: dict[str, Scalar] = {
            "gpu": index,
            "hold_seconds": BACK_OFF_SECONDS,
            "containers": self._containers,
        }
        self._teller.publish(BACK_OFF, uuid, reason, evidence, Severity.WARNING)

    def end(self, uuid: str, reason: str) -> None:
        """Take an ask back."""
        del self._asked[uuid]
        self._teller.publish(BACK_OFF_ENDED, uuid, reason, {"containers": self._containers})
