from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.golden.golden import FOLDER, WRITES
from tests.golden.observed import Observed, observe

STATE = FOLDER / "state_directory"


@pytest.fixture(scope="package")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """A daemon's two minutes."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "daemon").mkdir()
    found = anyio.run(observe, folder / "daemon", folder / "kept")
    if WRITES and not STATE.exists():  # it is what a daemon of then wrote, and stays that
        shutil.copytree(found.state, STATE)
    return found


@pytest.fixture
def state(request: pytest.FixtureRequest) -> Path:
    """The state directory as a daemon wrote it before the house was rearranged; not to be changed."""
    if WRITES:
        request.getfixturevalue("observed")
    return STATE


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()
