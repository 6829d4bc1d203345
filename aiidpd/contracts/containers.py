"""View of the containers (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiidpd.kernel.views import View


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """One container. ``state`` is Docker's word, ``health`` None where no health check speaks."""

    id: str
    name: str
    image: str
    state: str
    health: str | None
    gpu: bool
    running: bool


@dataclass(frozen=True, slots=True)
class ContainersView:
    """Every container, by its name."""

    containers: tuple[ContainerSummary, ...] = ()


CONTAINERS: Final[View[ContainersView]] = View("containers")
