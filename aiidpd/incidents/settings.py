"""Table [incidents]: how many incidents are stored, and how much space they take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aiidpd.config.fields import Effect, Size, Table, Whole


class IncidentSettings(Table):
    """Incidents on disk, below incidents/ in the state directory."""

    keep: Annotated[Whole, Effect.LIVE] = Field(
        default=50, ge=1, le=1000, description="How many incidents are kept; the oldest is removed."
    )
    max_size: Annotated[Size, Effect.LIVE] = Field(
        default=100 * 2**20,
        ge=2**20,
        le=2**40,
        description="How much space all incidents may take; the oldest are removed, but never the newest.",
    )
