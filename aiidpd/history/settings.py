"""Table [history]: how long events and samples stay, and how much space they take."""

from __future__ import annotations

from pydantic import Field

from aiidpd.config.fields import Duration, Size, Table


class HistorySettings(Table):
    """Database of events and samples in the state directory. The bound that is reached first counts."""

    keep: Duration = Field(
        default=604800.0, ge=60, le=315360000, description="How long events and samples are kept."
    )
    max_size: Size = Field(
        default=200 * 2**20,
        ge=8 * 2**20,
        le=2**40,
        description="How large the database may grow; then the oldest are dropped.",
    )
