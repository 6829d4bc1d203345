"""The monitor that tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.components.bench.regression.monitored import Room


@pytest.fixture
async def room(tmp_path: Path) -> Room:
    made = Room(tmp_path)
    await made.begin()
    return made
