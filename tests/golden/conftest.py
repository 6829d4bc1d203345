from __future__ import annotations

import os
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
    """A daemon's two minutes; where golden files are written its state directory is too."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "daemon").mkdir()
    found = anyio.run(observe, folder / "daemon", folder / "kept")
    if WRITES:
        shutil.rmtree(STATE, ignore_errors=True)
        shutil.copytree(found.state, STATE)
    return found


@pytest.fixture
def state(request: pytest.FixtureRequest) -> Path:
    """The state directory as it was written once; not to be changed."""
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
    assert os.environ.get("TZ") != "UTC" or time.timezone == 0
