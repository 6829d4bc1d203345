"""Table [physics]: where the claims on this machine are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from aiidpd.config.fields import AbsolutePath, Effect, Table


class PhysicsSettings(Table):
    """Component physics: claims of speed on this machine."""

    claims: Annotated[AbsolutePath, Effect.RESTART] = Field(
        default=Path("/etc/aiidpd/claims.toml"),
        description="The file with claims of speed on this machine, in the form of the shipped claims.toml. "
        "It need not be there; it is read when the daemon starts.",
    )
