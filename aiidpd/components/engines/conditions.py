"""Condition of a container whose labels about its engine can't be used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiidpd.components.engines.discovery import FoundEngine
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity

LABEL: Final = "engine_label_invalid"


def update_conditions(conditions: Conditions, engines: Iterable[FoundEngine]) -> None:
    """Have a condition for each engine with a label that can't be used, and for no other."""
    conditions.update(
        (LABEL,),
        [
            Condition(
                LABEL,
                engine.name,
                Severity.WARNING,
                "; ".join(engine.notes),
                "correct the label, and create the container anew",
                source="engines",
            )
            for engine in engines
            if engine.notes
        ],
    )
