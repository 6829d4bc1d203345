"""A heartbeat for a worker that a test runs without a supervisor."""

from __future__ import annotations

import anyio

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.task import Heartbeat, WorkerStatus


def heartbeat(clock: Clock, name: str = "test") -> Heartbeat:
    """Return the heartbeat of a task ``name`` that nobody supervises."""
    return Heartbeat(clock, WorkerStatus(name), anyio.Event())
