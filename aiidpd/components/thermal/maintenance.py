"""Driver maintenance: the GPUs are left alone while an administrator has the driver. Outlives the worker."""

from __future__ import annotations

import anyio

from aiidpd.kernel.clock import Clock, wait_for


class DriverMaintenance:
    """Releases the driver, for an upgrade, and resumes its use.

    :meth:`release` and :meth:`resume` are called by the control API. The worker reads :attr:`active` before
    each pass, calls :meth:`mark_free` once it no longer holds the driver, and waits in :meth:`sleep`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: float | None = None
        self._changed = anyio.Event()
        self._free = anyio.Event()

    @property
    def active(self) -> bool:
        """True while the GPUs must be left alone."""
        return self._until is not None and self._clock.monotonic() < self._until

    @property
    def seconds_left(self) -> float | None:
        """Seconds that it still lasts: infinity until :meth:`resume`, None where it is not active."""
        if self._until is None or not self.active:
            return None
        return self._until - self._clock.monotonic()

    def release(self, seconds: float = float("inf")) -> None:
        """Release the driver for ``seconds``, for ever by default; a second call replaces the first."""
        if not self.active:
            self._free = anyio.Event()
        self._until = self._clock.monotonic() + seconds
        self._wake()

    def resume(self) -> None:
        """Use the driver again; does nothing where it was not released."""
        self._until = None
        self._wake()

    async def wait_free(self, seconds: float) -> bool:
        """Wait until the driver is free, at most ``seconds``; return whether it is."""
        return await wait_for(self._clock, self._free, seconds)

    def mark_free(self) -> None:
        """Note that the driver is free (called by the worker, in each pass while active)."""
        self._free.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep ``seconds``, less after :meth:`release` or :meth:`resume` (called by the worker)."""
        if await wait_for(self._clock, self._changed, seconds):
            self._changed = anyio.Event()

    def _wake(self) -> None:
        self._changed.set()
