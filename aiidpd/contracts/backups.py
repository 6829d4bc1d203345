"""View of the backup that runs now (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiidpd.kernel.views import View


@dataclass(frozen=True, slots=True)
class BackupActivity:
    """Folder that a backup reads now; an empty text while none runs."""

    source: str = ""


BACKUP: Final[View[BackupActivity]] = View("backup")
