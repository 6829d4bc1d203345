"""Checks of the engines that the configuration names: whether somebody listens there."""

from __future__ import annotations

from functools import partial

from aiidpd.components.engines.settings import EnginesSettings
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.platform.reach import reaches


def checks(settings: EnginesSettings, _around: Surroundings) -> tuple[Check, ...]:
    """Return the checks, one an engine, so that they run side by side."""
    return tuple(
        Check("engines", partial(reaches, each.url, f"the engine {each.name}"))
        for each in settings.servers
        if each.url
    )
