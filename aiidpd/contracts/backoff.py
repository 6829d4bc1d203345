"""Back-off requests in force, per GPU (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.contracts.messages import LONGEST_HOLD, BackOffMessage, BackOffRequested


@dataclass(frozen=True, slots=True)
class BackOffs:
    """Last request about each GPU, by its UUID, with the monotonic second until which it holds."""

    by_gpu: Mapping[str, tuple[BackOffRequested, float]] = field(default_factory=lambda: MappingProxyType({}))

    def after(self, messages: Iterable[BackOffMessage]) -> BackOffs:
        """Return the requests after ``messages``, each of which counts from when it was sent."""
        found = dict(self.by_gpu)
        for message in messages:
            found.pop(message.gpu, None)
            if isinstance(message, BackOffRequested):
                hold = min(LONGEST_HOLD, message.hold_seconds)
                found[message.gpu] = (message, message.sent_at + hold)
        return BackOffs(MappingProxyType(found))

    def active(self, now: float) -> tuple[BackOffRequested, ...]:
        """Return the requests that hold at ``now`` (monotonic seconds)."""
        return tuple(request for request, until in self.by_gpu.values() if now < until)
