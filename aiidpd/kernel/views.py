"""Views: what one component may know of another, by a name that both sides share (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiidpd.kernel.reading import Reading

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View(Generic[T]):
    """Name of a view, and by its type parameter what it shows."""

    name: str


class Views:
    """Views that are offered. Whoever offers one need not know who reads it, nor the other way round."""

    def __init__(self) -> None:
        self._offered: dict[str, Callable[[], Reading[Any] | None]] = {}

    def offer(self, view: View[T], read: Callable[[], Reading[T] | None]) -> None:
        """Have ``read``, which must not block, answer for ``view``.

        Raises:
            ValueError: it is offered already.
        """
        if view.name in self._offered:
            raise ValueError(f"the view {view.name} is offered twice")
        self._offered[view.name] = read

    def get(self, view: View[T]) -> Reading[T] | None:
        """Return the present reading; None where there is none now, or nobody offers the view."""
        read = self._offered.get(view.name)
        return None if read is None else read()
