"""Comparisons on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiidpd.components.bench.compare.result import Comparison
from aiidpd.components.bench.record_store import RecordStore

FOLDER: Final = "comparisons"


class ComparisonStore(RecordStore[Comparison]):
    """Folder of comparisons."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Comparison, name="comparison", command="aiidpctl bench comparisons")
