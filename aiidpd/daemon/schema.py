"""Schema of this daemon's configuration: its own tables, those of the services and of every component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiidpd.component import Spec
from aiidpd.components.all import COMPONENTS
from aiidpd.config.schema import Schema
from aiidpd.daemon.settings import ControlSettings, DaemonSettings, TelemetrySettings
from aiidpd.history.settings import HistorySettings
from aiidpd.incidents.settings import IncidentSettings


def schema_of(specs: Sequence[Spec]) -> Schema:
    """Return the schema of a daemon with the components ``specs``."""
    tables = {name: kind for spec in specs for name, kind in spec.tables.items()}
    return Schema(
        tables={
            "daemon": DaemonSettings,
            **tables,
            "incidents": IncidentSettings,
            "telemetry": TelemetrySettings,
            "control": ControlSettings,
            "history": HistorySettings,
        },
        readers={
            table: tuple(spec.name for spec in specs if table in {*spec.tables, *spec.follows})
            for table in tables
        },
    )


SCHEMA: Final = schema_of(COMPONENTS)
