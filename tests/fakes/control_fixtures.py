"""The control server of tests.fakes.control as fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from aiidpd.api.client import ControlClient
from tests.fakes.control import ControlDaemon, control_daemon
from tests.waiting import PATIENCE


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[ControlDaemon]:
    async with control_daemon(tmp_path, heartbeat=0.1) as daemon:
        yield daemon


class Asker:
    """The client, in a thread: the server runs in the test's loop."""

    def __init__(self, path: Path) -> None:
        self.client = ControlClient(str(path), timeout=PATIENCE)

    async def get(self, path: str, **query: Any) -> Any:
        return await anyio.to_thread.run_sync(lambda: self.client.get(path, **query))

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return await anyio.to_thread.run_sync(lambda: self.client.post(path, body))


@pytest.fixture
async def asker(daemon: ControlDaemon) -> AsyncIterator[Asker]:
    asker = Asker(daemon.path)
    yield asker
    asker.client.close()
