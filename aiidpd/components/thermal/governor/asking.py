"""Requests to others to leave a GPU alone, for as long as it is on the last step of its ladder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.thermal.governor.events import GovernorPublisher
from aiidpd.contracts.messages import BackOffEnded, BackOffRequested
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.inbox import Messages

BACK_OFF_SECONDS: Final = 600.0
"""How long a request holds unless it is renewed: so none outlives a daemon that can't take it back."""


class BackOffRequester:
    """Renews each request at half of its time. ``containers`` are those that are named in it."""

    def __init__(
        self, teller: GovernorPublisher, messages: Messages, clock: Clock, containers: tuple[str, ...]
    ) -> None:
        self._teller = teller
        self._messages = messages
        self._clock = clock
        self._containers = containers
        self._requested: dict[str, float] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """The GPUs, by UUID, that others are requested to leave alone."""
        return tuple(self._requested)

    def due(self, now: float) -> Iterator[str]:
        """Yield the GPUs whose request is to be renewed."""
        for uuid, requested in tuple(self._requested.items()):
            if now - requested >= BACK_OFF_SECONDS / 2:
                yield uuid

    def request(self, index: int, uuid: str, reason: str) -> None:
        """Request, or renew a request."""
        self._requested[uuid] = self._clock.monotonic()
        evidence: dict[str, Scalar] = {
            "gpu": index,
            "hold_seconds": BACK_OFF_SECONDS,
            "containers": ", ".join(self._containers),
        }
        event = self._teller.publish("gpu.back_off", uuid, reason, evidence, Severity.WARNING)
        self._messages.send(
            BackOffRequested(
                reason=reason,
                event_id=event.id,
                simulated=event.simulated,
                gpu=uuid,
                label=f"GPU {index}",
                hold_seconds=BACK_OFF_SECONDS,
                containers=self._containers,
            )
        )

    def end(self, uuid: str, reason: str) -> None:
        """Take a request back."""
        del self._requested[uuid]
        evidence: dict[str, Scalar] = {"containers": ", ".join(self._containers)}
        event = self._teller.publish("gpu.back_off_ended", uuid, reason, evidence)
        self._messages.send(
            BackOffEnded(reason=reason, event_id=event.id, simulated=event.simulated, gpu=uuid)
        )
