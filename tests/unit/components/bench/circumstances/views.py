"""Views that a test offers, each with one reading that it may change."""

from __future__ import annotations

from typing import Any

from aiidpd.kernel.reading import Reading
from aiidpd.kernel.views import View, Views


class Offered:
    """Views, and what they show: ``shown[VIEW.name]``, None for nothing now."""

    def __init__(self) -> None:
        self.views = Views()
        self.shown: dict[str, Reading[Any] | None] = {}

    def put(self, view: View[Any], value: object, at: float = 1.0) -> None:
        """Show ``value`` from now on, as read at the monotonic second ``at``."""
        if view.name not in self.shown:
            self.views.offer(view, lambda: self.shown[view.name])
        self.shown[view.name] = Reading(value, at, at)
