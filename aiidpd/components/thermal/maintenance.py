"""Whether the daemon may hold the GPUs: a cell that outlives the worker, between people and the worker."""

from __future__ import annotations

import anyio

from aiidpd.kernel.clock import Clock, wait_for


class DriverMaintenance:
    """Lets people take the driver away from the daemon, for an upgrade, and give it back.

    :meth:`release` and :meth:`resume` are called by the control API; the worker asks :meth:`released`
    before each pass, tells by :meth:`let_go` once it no longer holds the driver, and sleeps in :meth:`nap`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: float | None = None
        self._changed = anyio.Event()
        self._free = anyio.Event()

    @property
    def released(self) -> bool:
        """Whether the daemon must keep off the GPUs now."""
        return self._until is not None and self._clock.monotonic() < self._until

    @property
    def seconds_left(self) -> float | None:
        """How long the release still lasts: infinity until :meth:`resume`, None where there is none."""
        if self._until is None or not self.released:
            return None
        return self._until - self._clock.monotonic()

    def release(self, seconds: float = float("inf")) -> None:
        """Keep off the GPUs for ``seconds``, for ever by default; a second call replaces the first."""
        if not self.released:
            self._free = anyio.Event()
        self._until = self._clock.monotonic() + seconds
        self._wake()

    def resume(self) -> None:
        """Take hold of the GPUs again; does nothing where they were not released."""
        self._until = None
        self._wake()

    async def wait_free(self, seconds: float) -> bool:
        """Wait until the worker has let go, at most ``seconds``; return whether it has."""
        return await wait_for(self._clock, self._free, seconds)

    def let_go(self) -> None:
        """Say that the driver is free (called by the worker, in each pass while released)."""
        self._free.set()

    async def nap(self, seconds: float) -> None:
        """Sleep ``seconds``, less where people release or resume meanwhile (called by the worker)."""
        if await wait_for(self._clock, self._changed, seconds):
            self._changed = anyio.Event()

    def _wake(self) -> None:
        self._changed.set()
